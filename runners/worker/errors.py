"""Errors in a predictor's own code, and how they are described."""

from msgspec import Struct


class SourceLine(Struct, frozen=True):
    """A line of one of the predictor's files."""

    file: str
    """An absolute path."""
    line: int


class UnusablePredictor(Exception):
    """The predictor cannot be run as it is written."""

    stage = "schema"

    def __init__(self, message: str, place: SourceLine | None = None) -> None:
        super().__init__(message)
        self.place = place


def describe_error(error: BaseException) -> str:
    """Return the type and message of an error on one line, as a user reads it."""
    match error:
        case SystemExit(code=code):
            return f"The predictor called sys.exit({code!r})"
        case UnusablePredictor():
            return str(error)
        case _:
            return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
