"""Plans for a load generator, the repeats and samples that come of them, and the file that stores these."""

import gzip
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Literal

from msgspec import Raw, Struct, field, json

from benchmarks.machine import Machine

Protocol = Literal["sync", "async", "stream", "cancel", "plain", "plain-stream"]
"""How a client gets its answer.

sync: `Prefer: wait`. async: a create, then its stream until `done`. stream: the same, for the sake of its events.
cancel: a create, a cancel, then its stream until `done`. plain: a POST that is answered with the output, as most rivals
do; plain-stream: with the output in pieces.
"""
Arrivals = Literal["closed", "constant", "poisson"]
"""closed: each client sends its next request after an answer. The others send at a rate, answered or not."""


class Request(Struct, frozen=True, kw_only=True):
    """One of the requests that a plan sends in turns."""

    path: str
    body: Raw
    model: str = ""


class Plan(Struct, frozen=True, kw_only=True):
    """One measurement, as a load generator carries it out in a process of its own."""

    name: str
    """The measurement's name: `no-op, 32 clients`."""
    target: str
    """The server that is measured: samovar, litserve, …"""
    url: str
    protocol: Protocol
    requests: list[Request]
    clients: int = 1
    """Clients of a closed loop. In an open one, connections at most; waiting for a free one counts as latency."""
    arrivals: Arrivals = "closed"
    rate: float = 0.0
    """Requests per second of an open loop."""
    seconds: float = 5.0
    warm_up: float = 1.0
    """Seconds of the same load before, which are not counted."""
    repeats: int = 5
    seed: int = 1
    expect: str | None = None
    """A text that each answer contains; an answer without it is wrong."""


class Sample(Struct, frozen=True, array_like=True):
    """One request; all times in microseconds."""

    at: int
    """Since the repeat began: when the request was sent, or in an open loop when it was due."""
    latency: int
    """From `at` to the end of the answer; a late start counts, so that there is no coordinated omission."""
    first: int | None = None
    """From `at` to the first event of the output."""
    gaps: list[int] = []
    """The times between events of the output."""
    request: int = 0
    """The number of the plan's request."""
    error: str | None = None
    """Why the answer is wrong; None if it is right."""


class Repeat(Struct, frozen=True, kw_only=True):
    """One run of a plan: its samples, and the machine that it ran on."""

    plan: Plan
    number: int
    at: str
    """When it began, in ISO 8601."""
    machine: Machine
    seconds: float
    """The seconds that it took."""
    cpu: dict[str, float] = {}
    """Seconds of CPU that each kind of process used: `load generator`, and those of the target that could be seen."""
    stages: dict[str, float] = {}
    """Mean seconds in each stage of a prediction, if the target reports them."""
    samples: list[Sample] = field(default_factory=list[Sample])


class Figure(Struct, frozen=True, kw_only=True):
    """A measurement that is not made of requests, such as memory or a start; one value per repeat."""

    name: str
    target: str
    figure: str
    """The figure with its unit: `MB`, `ms, p99`."""
    values: list[float]
    at: str
    machine: Machine
    details: dict[str, float] = {}


def write_measurements(path: Path, measured: Iterable[Repeat | Figure]) -> None:
    """Write results as JSON lines: an object for each repeat and figure, then an array for each sample of the repeat.

    The file is compressed if its name ends in `.gz`.
    """
    with _opened(path, "wb") as file:
        for one in measured:
            if isinstance(one, Figure):
                file.write(json.encode({"figure": one}) + b"\n")
                continue
            head = {name: getattr(one, name) for name in Repeat.__struct_fields__ if name != "samples"}
            file.write(json.encode({"repeat": head}) + b"\n")
            for sample in one.samples:
                file.write(json.encode(sample) + b"\n")


class _Line(Struct):
    repeat: Repeat | None = None
    figure: Figure | None = None


def read_measurements(path: Path) -> Iterator[Repeat | Figure]:
    """Yield the results in a file of `write_measurements`.

    Raises `ValueError` with the number of a line that cannot be read.
    """
    last: Repeat | None = None
    with _opened(path, "rb") as file:
        for number, text in enumerate(file, 1):
            try:
                if text.startswith(b"["):
                    if last is None:
                        raise ValueError("a sample before any repeat")
                    last.samples.append(json.decode(text, type=Sample))
                    continue
                line = json.decode(text, type=_Line)
            except ValueError as error:  # msgspec's are
                raise ValueError(f"{path}, line {number}: {error}") from error
            if last is not None:
                yield last
            last = line.repeat
            if line.figure is not None:
                yield line.figure
    if last is not None:
        yield last


def _opened(path: Path, mode: Literal["rb", "wb"]) -> IO[bytes]:
    if path.suffix == ".gz":
        return gzip.open(path, mode)  # pyright: ignore[reportReturnType]  a GzipFile is as good as one
    return path.open(mode)
