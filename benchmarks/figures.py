"""What repeats come to: percentiles, rates and costs, one value per repeat, and the spread between the repeats."""

import statistics
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from hdrh.histogram import HdrHistogram
from msgspec import Struct

from benchmarks.samples import Figure, Repeat, Sample

PERCENTILES: Final = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9}
LONGEST: Final = 3_600_000_000
"""Microseconds: an hour. What takes longer counts as an hour."""
DIGITS: Final = 3
"""That a percentile is exact to: 0.1 %."""
LOAD: Final = "load generator"
CPU: Final = "CPU µs per request"
TAIL: Final = "p99 / p50"


class Measurement(Struct, frozen=True, kw_only=True):
    """All that is known of one measurement of one target."""

    name: str
    target: str
    values: dict[str, list[float]]
    """Each figure's value per repeat."""
    repeats: list[Repeat]
    figures: list[Figure]

    @property
    def wrong(self) -> int:
        return int(sum(self.values.get("wrong", [])))


class Spread(Struct, frozen=True):
    """Over the repeats."""

    median: float
    least: float
    most: float


def measurements(measured: Iterable[Repeat | Figure]) -> list[Measurement]:
    """By name and target, in the order in which they were first met."""
    found: dict[tuple[str, str], Measurement] = {}
    for one in measured:
        name = one.plan.name if isinstance(one, Repeat) else one.name
        target = one.plan.target if isinstance(one, Repeat) else one.target
        empty = Measurement(name=name, target=target, values={}, repeats=[], figures=[])
        _add(found.setdefault((name, target), empty), one)
    return list(found.values())


def _add(measurement: Measurement, one: Repeat | Figure) -> None:
    if isinstance(one, Figure):
        measurement.figures.append(one)
        measurement.values.setdefault(one.figure, []).extend(one.values)
        return
    measurement.repeats.append(one)
    found = figures(one)
    for name, value in (found | _derived(found, one)).items():
        measurement.values.setdefault(name, []).append(value)


def figures(repeat: Repeat) -> dict[str, float]:
    """Of the right answers only; how many were wrong is a figure too. What no right answer tells is not there."""
    right = [sample for sample in repeat.samples if sample.error is None]
    latencies = [sample.latency for sample in right]
    rate = {"requests/s": len(right) / repeat.seconds, "wrong": float(len(repeat.samples) - len(right))}
    longest = {"max ms": max(latencies) / 1000} if latencies else {}
    return _percentiles("", latencies, PERCENTILES) | longest | rate | _of_events(right, repeat.seconds)


def _of_events(right: list[Sample], seconds: float) -> dict[str, float]:
    firsts = [sample.first for sample in right if sample.first is not None]
    if not firsts:
        return {}
    gaps = [gap for sample in right for gap in sample.gaps]
    rate = {"events/s": (len(firsts) + len(gaps)) / seconds}
    return _percentiles("first ", firsts, ("p50", "p99")) | _percentiles("gap ", gaps, ("p50", "p99")) | rate


def _percentiles(prefix: str, microseconds: list[int], names: Iterable[str]) -> dict[str, float]:
    if not microseconds:
        return {}
    found = values_at(histogram(microseconds), [PERCENTILES[name] for name in names])
    return {f"{prefix}{name} ms": value / 1000 for name, value in zip(names, found, strict=True)}


def _derived(found: dict[str, float], repeat: Repeat) -> dict[str, float]:
    tail = {TAIL: found["p99 ms"] / found["p50 ms"]} if found.get("p50 ms") else {}
    used = cost(repeat)
    seen = sum(used[kind] for kind in used if kind != LOAD)
    return tail | ({CPU: seen} if seen else {})


def cost(repeat: Repeat) -> dict[str, float]:
    """Microseconds of CPU per request, right or wrong, by kind of process."""
    return {kind: seconds / len(repeat.samples) * 1e6 for kind, seconds in repeat.cpu.items() if repeat.samples}


def histogram(microseconds: Sequence[int]) -> HdrHistogram:
    made = HdrHistogram(1, LONGEST, DIGITS)
    values, counts = np.unique(np.minimum(np.asarray(microseconds, dtype=np.int64), LONGEST), return_counts=True)
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        made.record_value(value, count)
    return made


def merged(repeats: Iterable[Repeat]) -> HdrHistogram:
    """The right answers of all repeats together: for a picture; figures are taken repeat by repeat."""
    return histogram([s.latency for repeat in repeats for s in repeat.samples if s.error is None])


def values_at(made: HdrHistogram, percentiles: Sequence[float]) -> list[int]:
    found: dict[float, int] = made.get_percentile_to_value_dict(list(percentiles))
    return [found.get(percentile, 0) for percentile in percentiles]


def median(repeats: Sequence[Repeat], name: str) -> float:
    """Raises `KeyError` where no repeat has such a figure."""
    return statistics.median(_each(repeats, name))


def spread(repeats: Sequence[Repeat], name: str) -> tuple[float, float]:
    """The least and the most."""
    found = _each(repeats, name)
    return min(found), max(found)


def _each(repeats: Sequence[Repeat], name: str) -> list[float]:
    found = [value for repeat in repeats if (value := figures(repeat).get(name)) is not None]
    if not found:
        raise KeyError(name)
    return found


def spread_of(values: Sequence[float]) -> Spread:
    return Spread(statistics.median(values), min(values), max(values))


def more_is_better(figure: str) -> bool:
    return "/s" in figure or figure == "streams"


def is_speed(figure: str) -> bool:
    """A time or a rate: what makes something faster or slower, which bytes, counts and ratios do not."""
    return "/s" in figure or not {"ms", "µs", "s"}.isdisjoint(figure.replace(",", " ").split())
