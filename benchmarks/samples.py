"""What is asked of a load generator, and what it has seen: plans, repeats, samples, and the file they are kept in."""

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
"""closed: each client asks again once it is answered. The others come at a rate, answered or not."""


class Request(Struct, frozen=True, kw_only=True):
    """One of those that a plan sends in turns."""

    path: str
    body: Raw
    model: str = ""


class Plan(Struct, frozen=True, kw_only=True):
    """One measurement: what a load generator does, in a process of its own."""

    name: str
    """Of the measurement, in words: `no-op, 32 clients`."""
    target: str
    """Who is measured: samovar, litserve, …"""
    url: str
    protocol: Protocol
    requests: list[Request]
    clients: int = 1
    """Closed: how many ask at once. Open: how many connections at most; who finds none free waits, and that counts."""
    arrivals: Arrivals = "closed"
    rate: float = 0.0
    """Arrivals per second, if open."""
    seconds: float = 5.0
    warm_up: float = 1.0
    """Seconds before, of the same load, that are not counted."""
    repeats: int = 5
    seed: int = 1
    expect: str | None = None
    """That each answer has in it; an answer without it is counted as wrong."""


class Sample(Struct, frozen=True, array_like=True):
    """One request. All times in microseconds."""

    at: int
    """Since the repeat began: when it was sent, or for an open loop when it should have been."""
    latency: int
    """From `at` to the end of the answer: a late start counts, so that nothing is coordinated away."""
    first: int | None = None
    """To the first event of its output."""
    gaps: list[int] = []
    """Between events of its output."""
    request: int = 0
    """Which of the plan's requests."""
    error: str | None = None
    """Why it is none: a status, or what was wrong with the answer."""


class Repeat(Struct, frozen=True, kw_only=True):
    """The samples of one run of a plan, and what it ran on."""

    plan: Plan
    number: int
    at: str
    """ISO 8601, when it began."""
    machine: Machine
    seconds: float
    """That it took."""
    cpu: dict[str, float] = {}
    """Seconds of CPU that each kind of process used: `load generator`, and those of the target that could be seen."""
    stages: dict[str, float] = {}
    """Mean seconds in each stage of a prediction, where the target tells them."""
    samples: list[Sample] = field(default_factory=list[Sample])


class Figure(Struct, frozen=True, kw_only=True):
    """A measurement that is not made of requests: memory, a start, a ratio; one value per repeat."""

    name: str
    target: str
    figure: str
    """With its unit: `MB`, `ms, p99`."""
    values: list[float]
    at: str
    machine: Machine
    details: dict[str, float] = {}


def write(path: Path, measured: Iterable[Repeat | Figure]) -> None:
    """JSON lines: an object for each repeat and figure, an array for each sample of the repeat above it.

    Compressed if the name ends in `.gz`.
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


def read(path: Path) -> Iterator[Repeat | Figure]:
    """What `write` wrote. Raises `ValueError` with the number of a line that makes no sense."""
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
