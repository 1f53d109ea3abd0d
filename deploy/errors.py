"""Errors that keep Samovar from starting, or a command from working. Each message says what to do about it.

DeployError
├── UsageError      an option, a setting, a folder or a file is wrong
├── AlreadyInUse    another process has the data directory or the port
└── StartFailed     a service does not start, or does not stay up
"""


class DeployError(Exception):
    """Something keeps Samovar from running."""


class UsageError(DeployError):
    """An option, a setting, a folder or a file is wrong."""


class AlreadyInUse(DeployError):
    """Another process uses the data directory or the port."""


class StartFailed(DeployError):
    """A service of the stack does not start."""
