"""What goes wrong in an agent.

RunnerError
├── NoAnswer            the broker was asked and did not answer in time
│   └── NoResponders    nobody listens there: no stream, no consumer, or a broker that is starting
├── Refused             JetStream answered, with an error
├── BadFolder            a model's folder cannot be read or packed
├── BadPack              an archive is not one that we would make
├── BadInput             an input's secret or file cannot be opened
├── NotOffered           a model's folder cannot be offered
├── EnvironmentFailed    what a version asks for cannot be installed
├── Unavailable          a pushed version cannot be had just now
├── SetupFailed         a worker did not get ready
├── Outgrown            a worker could not be set up in the memory that it was given, and there is more
├── StartOver           what a run said is gone, and too much of it to say again
└── FileStoreError      a file could not be stored or fetched
    └── NotThere        there is no such file
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


class BadFolder(RunnerError):
    """A model's folder cannot be read; the message names the file and the reason."""

    def __init__(
        self, message: str, file: str | None = None, line: int | None = None, reason: str | None = None
    ) -> None:
        super().__init__(message)
        self.file = file
        """Relative to the folder."""
        self.line = line
        self.reason = reason or message
        """Without file and line."""


class BadPack(RunnerError):
    """An archive is not one that we would make; the message names the file in it and the reason."""


class BadInput(RunnerError):
    """Something in an input cannot be opened here."""


class NotOffered(RunnerError):
    """A model's folder cannot be offered."""

    def __init__(
        self, reason: str, *, stage: str = "config", file: str | None = None, line: int | None = None, log: str = ""
    ) -> None:
        super().__init__(reason)
        self.stage = stage
        self.file = file
        self.line = line
        self.log = log


class EnvironmentFailed(RunnerError):
    """What a version asks for cannot be installed."""

    def __init__(self, reason: str, log: str = "", *, file: str | None = None, line: int | None = None) -> None:
        super().__init__(reason)
        self.log = log
        self.file = file
        """Which asked for it."""
        self.line = line


class Unavailable(RunnerError):
    """A pushed version cannot be had just now: its archive is not to be reached, or is not what it should be."""


class SetupFailed(RunnerError):
    """A worker did not get ready."""

    def __init__(
        self,
        reason: str,
        log: str,
        *,
        stage: str = "setup",
        file: str | None = None,
        line: int | None = None,
        cause: str | None = None,
    ) -> None:
        super().__init__(reason)
        self.cause = cause if cause is not None else reason
        """The reason without the stage and the place."""
        self.log = log
        """What it printed until then."""
        self.stage = stage
        """import | setup"""
        self.file = file
        """Of the predictor's own, relative to its folder."""
        self.line = line

    @property
    def out_of_memory(self) -> bool:
        text = str(self).lower()
        return any(
            words in text
            for words in ("out of memory", "memoryerror", "allocate memory", "bad_alloc", "can't start new thread")
        )


class Outgrown(RunnerError):
    """A worker could not be set up in the memory that it was given."""


class StartOver(RunnerError):
    """What this run said is lost, and it was too much to keep."""


class FileStoreError(RunnerError):
    """A file could not be stored or fetched."""


class NotThere(FileStoreError):
    """There is no such file."""


def place(file: str | None, line: int | None) -> str:
    """How a message begins that is about a place in a model's folder; empty where that is not known."""
    return f"{file}:{line}: " if file and line else f"{file}: " if file else ""
