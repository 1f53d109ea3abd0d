"""What goes wrong in an agent.

RunnerError
├── NoAnswer            the broker was asked and did not answer in time
│   └── NoResponders    nobody listens there: no stream, no consumer, or a broker that is starting
├── Refused             JetStream answered, with an error
├── NotOffered           a model's folder cannot be offered
├── SetupFailed         a worker did not get ready
├── StartOver           what a run said is gone, and too much of it to say again
└── FileStoreError      a file could not be stored or fetched
"""


class RunnerError(Exception):
    """Something went wrong in this runner."""


class NoAnswer(RunnerError):
    """The broker did not answer in time."""


class NoResponders(NoAnswer):
    """Nobody listens on that subject."""


class Refused(RunnerError):
    """JetStream refused a request."""

    def __init__(self, code: int, description: str) -> None:
        super().__init__(f"{description} ({code})")
        self.code = code


class NotOffered(RunnerError):
    """A model's folder cannot be offered."""


class SetupFailed(RunnerError):
    """A worker did not get ready."""

    def __init__(self, reason: str, log: str) -> None:
        super().__init__(reason)
        self.log = log


class StartOver(RunnerError):
    """What this run said is lost, and it was too much to keep."""


class FileStoreError(RunnerError):
    """A file could not be stored or fetched."""
