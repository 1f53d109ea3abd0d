"""What the load generator says to who started it: a line of JSON each."""

from msgspec import Struct

from benchmarks.samples import Sample


class Ready(Struct, frozen=True, tag="ready"):
    """The next repeat begins when a line comes."""


class Ran(Struct, frozen=True, kw_only=True, tag="ran"):
    """A repeat."""

    at: str
    """ISO 8601, when it began."""
    seconds: float
    cpu: float
    """Seconds that the load generator itself used."""
    samples: list[Sample]


class Stopped(Struct, frozen=True, tag="stopped"):
    """There is nothing to measure."""

    why: str


Said = Ready | Ran | Stopped
