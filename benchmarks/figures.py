"""The figures of measurements: percentiles, rates and costs, one value per repeat, and the spread between repeats."""

import statistics
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from hdrh.histogram import HdrHistogram
from msgspec import Struct

from benchmarks.samples import Figure, Repeat, Sample

PERCENTILES: Final = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9}
MAX_LATENCY: Final = 3_600_000_000
"""Microseconds: an hour. A longer latency counts as an hour."""
SIGNIFICANT_DIGITS: Final = 3
"""Digits to which a percentile is exact: 0.1 %."""
LOAD_GENERATOR: Final = "load generator"
CPU_FIGURE: Final = "CPU µs per request"
TAIL_FIGURE: Final = "p99 / p50"


class Measurement(Struct, frozen=True, kw_only=True):
    """All results of one measurement of one target."""

    name: str
    target: str
    values: dict[str, list[float]]
    """The values of each figure, one per repeat."""
    repeats: list[Repeat]
    figures: list[Figure]

    @property
    def wrong(self) -> int:
        """The number of wrong answers."""
        return int(sum(self.values.get("wrong", [])))


class Spread(Struct, frozen=True):
    """The median, the least and the most of a figure's values over the repeats."""

    median: float
    least: float
    most: float


def group_measurements(measured: Iterable[Repeat | Figure]) -> list[Measurement]:
    """Group results by name and target, in the order in which these first appear."""
    grouped: dict[tuple[str, str], Measurement] = {}
    for result in measured:
        name = result.plan.name if isinstance(result, Repeat) else result.name
        target = result.plan.target if isinstance(result, Repeat) else result.target
        empty = Measurement(name=name, target=target, values={}, repeats=[], figures=[])
        _add(grouped.setdefault((name, target), empty), result)
    return list(grouped.values())


def _add(measurement: Measurement, result: Repeat | Figure) -> None:
    if isinstance(result, Figure):
        measurement.figures.append(result)
        measurement.values.setdefault(result.figure, []).extend(result.values)
        return
    measurement.repeats.append(result)
    figures = compute_figures(result)
    for name, value in (figures | _derived_figures(figures, result)).items():
        measurement.values.setdefault(name, []).append(value)


def compute_figures(repeat: Repeat) -> dict[str, float]:
    """Compute the figures of a repeat.

    They are of the right answers only; how many were wrong is a figure too. Figures without a value are left out.
    """
    right = [sample for sample in repeat.samples if sample.error is None]
    latencies = [sample.latency for sample in right]
    rate = {"requests/s": len(right) / repeat.seconds, "wrong": float(len(repeat.samples) - len(right))}
    longest = {"max ms": max(latencies) / 1000} if latencies else {}
    return _percentiles("", latencies, PERCENTILES) | longest | rate | _event_figures(right, repeat.seconds)


def _event_figures(right: list[Sample], seconds: float) -> dict[str, float]:
    firsts = [sample.first for sample in right if sample.first is not None]
    if not firsts:
        return {}
    gaps = [gap for sample in right for gap in sample.gaps]
    rate = {"events/s": (len(firsts) + len(gaps)) / seconds}
    return _percentiles("first ", firsts, ("p50", "p99")) | _percentiles("gap ", gaps, ("p50", "p99")) | rate


def _percentiles(prefix: str, microseconds: list[int], names: Iterable[str]) -> dict[str, float]:
    if not microseconds:
        return {}
    values = percentile_values(create_histogram(microseconds), [PERCENTILES[name] for name in names])
    return {f"{prefix}{name} ms": value / 1000 for name, value in zip(names, values, strict=True)}


def _derived_figures(figures: dict[str, float], repeat: Repeat) -> dict[str, float]:
    tail = {TAIL_FIGURE: figures["p99 ms"] / figures["p50 ms"]} if figures.get("p50 ms") else {}
    cpu = cpu_per_request(repeat)
    seen = sum(cpu[kind] for kind in cpu if kind != LOAD_GENERATOR)
    return tail | ({CPU_FIGURE: seen} if seen else {})


def cpu_per_request(repeat: Repeat) -> dict[str, float]:
    """Return the microseconds of CPU per request, right or wrong, by kind of process."""
    return {kind: seconds / len(repeat.samples) * 1e6 for kind, seconds in repeat.cpu.items() if repeat.samples}


def create_histogram(microseconds: Sequence[int]) -> HdrHistogram:
    """Return a histogram of latencies."""
    histogram = HdrHistogram(1, MAX_LATENCY, SIGNIFICANT_DIGITS)
    values, counts = np.unique(np.minimum(np.asarray(microseconds, dtype=np.int64), MAX_LATENCY), return_counts=True)
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        histogram.record_value(value, count)
    return histogram


def merged_histogram(repeats: Iterable[Repeat]) -> HdrHistogram:
    """Return a histogram of the right answers of all repeats.

    This is for plots; figures are computed repeat by repeat.
    """
    return create_histogram([s.latency for repeat in repeats for s in repeat.samples if s.error is None])


def percentile_values(histogram: HdrHistogram, percentiles: Sequence[float]) -> list[int]:
    """Return the values at these percentiles, in microseconds."""
    values: dict[float, int] = histogram.get_percentile_to_value_dict(list(percentiles))
    return [values.get(percentile, 0) for percentile in percentiles]


def median_figure(repeats: Sequence[Repeat], name: str) -> float:
    """Return the median of a figure over the repeats.

    Raises `KeyError` if no repeat has it.
    """
    return statistics.median(_figure_values(repeats, name))


def figure_range(repeats: Sequence[Repeat], name: str) -> tuple[float, float]:
    """Return the least and the most of a figure over the repeats."""
    values = _figure_values(repeats, name)
    return min(values), max(values)


def _figure_values(repeats: Sequence[Repeat], name: str) -> list[float]:
    values = [value for repeat in repeats if (value := compute_figures(repeat).get(name)) is not None]
    if not values:
        raise KeyError(name)
    return values


def spread_of(values: Sequence[float]) -> Spread:
    """Return the spread of a figure's values."""
    return Spread(statistics.median(values), min(values), max(values))


def is_more_better(figure: str) -> bool:
    """Return whether a higher value of the figure is better."""
    return "/s" in figure or figure == "streams"


def is_speed(figure: str) -> bool:
    """Return whether the figure is a time or a rate.

    Those make something faster or slower; bytes, counts and ratios do not.
    """
    return "/s" in figure or not {"ms", "µs", "s"}.isdisjoint(figure.replace(",", " ").split())
