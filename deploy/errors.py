"""What can keep Samovar from starting or a command from working, each with what to do about it.

DeployError
├── Unusable        a setting, a folder or a file is not as it has to be
├── InUse           somebody else has the data directory or the port
└── Unstarted       a part does not come up, or does not stay up
"""


class DeployError(Exception):
    """Something keeps Samovar from running."""


class Unusable(DeployError):
    """A setting, a folder or a file cannot be used as it is."""


class InUse(DeployError):
    """The data directory or the port is taken."""


class Unstarted(DeployError):
    """A part of the stack does not start."""
