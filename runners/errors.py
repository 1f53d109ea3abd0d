"""The errors of an agent.

RunnerError
├── BrokerTimeout       the broker did not answer in time
│   └── NoResponders    no stream or consumer listens there, or the broker is starting
├── RequestRefused      JetStream answered with an error
├── BadFolder           a model's folder cannot be read or packed
├── BadArchive          an archive is not one that we would write
├── BadInput            a secret or a file in an input cannot be opened
├── UnusableModel       a model's folder cannot be served
├── EnvironmentFailed   the environment that a version requires cannot be built
├── VersionUnavailable  a pushed version cannot be fetched now
├── SetupFailed         a worker did not become ready
├── SetupOutOfMemory    a worker could not be set up in its slot, and there is more memory
├── EventsLost          the events of an attempt are gone, and too many to publish again
└── FileStoreError      a file could not be stored or fetched
    └── FileMissing     there is no such file
"""


class RunnerError(Exception):
    """Something went wrong in this runner."""


class BrokerTimeout(RunnerError):
    """The broker did not answer in time."""


class NoResponders(BrokerTimeout):
    """The subject has no listener: there is no such stream or consumer, or the broker is starting."""


class RequestRefused(RunnerError):
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
        """The file, relative to the folder."""
        self.line = line
        self.reason = reason or message
        """The reason without file and line."""


class BadArchive(RunnerError):
    """An archive is not one that we would write; the message names the file in it and the reason."""


class BadInput(RunnerError):
    """A part of an input cannot be opened here."""


class UnusableModel(RunnerError):
    """A model's folder cannot be served."""

    def __init__(
        self, reason: str, *, stage: str = "config", file: str | None = None, line: int | None = None, log: str = ""
    ) -> None:
        super().__init__(reason)
        self.stage = stage
        self.file = file
        self.line = line
        self.log = log


class EnvironmentFailed(RunnerError):
    """The environment that a version requires cannot be built."""

    def __init__(self, reason: str, log: str = "", *, file: str | None = None, line: int | None = None) -> None:
        super().__init__(reason)
        self.log = log
        self.file = file
        """The file that requires what failed."""
        self.line = line


class VersionUnavailable(RunnerError):
    """A pushed version cannot be fetched now: its archive is out of reach, or not what it should be."""


class SetupFailed(RunnerError):
    """A worker did not become ready."""

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
        """The reason without stage and location."""
        self.log = log
        """The output of the worker until then."""
        self.stage = stage
        """import | setup"""
        self.file = file
        """The predictor's own file, relative to its folder."""
        self.line = line

    @property
    def is_out_of_memory(self) -> bool:
        """Whether the worker ran out of memory, judging by the message."""
        text = str(self).lower()
        return any(
            phrase in text
            for phrase in ("out of memory", "memoryerror", "allocate memory", "bad_alloc", "can't start new thread")
        )


class SetupOutOfMemory(RunnerError):
    """A worker could not be set up in the memory of its slot."""


class EventsLost(RunnerError):
    """The events of this attempt are lost, and were too many to keep."""


class FileStoreError(RunnerError):
    """A file could not be stored or fetched."""


class FileMissing(FileStoreError):
    """The file store has no such file."""


def location_prefix(file: str | None, line: int | None) -> str:
    """Return the beginning of a message about a place in a model's folder; empty if the place is unknown."""
    return f"{file}:{line}: " if file and line else f"{file}: " if file else ""
