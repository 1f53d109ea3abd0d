"""The messages of the load generator to the process that started it, a line of JSON each."""

from msgspec import Struct

from benchmarks.samples import Sample


class Ready(Struct, frozen=True, tag="ready"):
    """The next repeat begins when a line arrives."""


class RepeatDone(Struct, frozen=True, kw_only=True, tag="ran"):
    """The result of a repeat."""

    at: str
    """When it began, in ISO 8601."""
    seconds: float
    cpu: float
    """Seconds of CPU that the load generator itself used."""
    samples: list[Sample]


class Failure(Struct, frozen=True, tag="stopped"):
    """There is nothing to measure."""

    why: str


Message = Ready | RepeatDone | Failure
