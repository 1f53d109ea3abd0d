"""Two files of measurements side by side: how much faster or slower the second is, and how sure that is.

A figure has one value per repeat, and only repeats are independent of each other: the samples in one share its moods.
So the bootstrap draws repeats with replacement and leaves what is within them as it is, which C. A. Field and A. H.
Welsh found consistent for samples in groups ("Bootstrapping clustered data", J. R. Statist. Soc. B 69, 2007); T.
Kalibera and R. Jones ask for the ratio with an interval instead of a test ("Rigorous Benchmarking in Reasonable
Time", ISMM 2013). Of each draw the ratio of the medians is taken, and the interval is from the 2.5th to the 97.5th
percentile of these ratios (B. Efron and R. Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13).

In a simulation with lognormal repeats the interval held the true ratio in 96 of 100 cases with 5 to 10 repeats, and
in 90 with 3. So of two files that differ by nothing, one figure in twenty or so will look different: believe what
several say.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, Literal

import numpy as np
from msgspec import Struct, structs
from rich.console import Console

from benchmarks.figures import Measurement, group_measurements, is_more_better, is_speed, spread_of
from benchmarks.samples import Figure, Repeat, read_measurements
from benchmarks.tables import (
    PIPE_WIDTH,
    QUIET_LOAD_AVERAGE,
    CellValue,
    TableData,
    format_number,
    printable,
    render_table,
)

DRAWS: Final = 10_000
MIN_REPEATS: Final = 3
"""The fewest repeats for which an interval says anything."""
SEED: Final = 20_251
IGNORED_FIGURES: Final = ("wrong", "max ms")
"""Figures without a comparison: a count that has a remark of its own, and the time of one single request."""

Verdict = Literal["faster", "slower", "more", "less", "no difference seen", "too few repeats", "no ratio"]


class Comparison(Struct, frozen=True, kw_only=True):
    """One figure in both files."""

    name: str
    target: str
    figure: str
    a: list[float]
    b: list[float]
    ratio: float | None
    """The ratio of B's median to A's; None for values that are zero or less."""
    low: float | None = None
    high: float | None = None

    @property
    def verdict(self) -> Verdict:
        """The meaning of the ratio, in one to three words."""
        if self.ratio is None:
            return "no ratio"
        if self.low is None or self.high is None:
            return "too few repeats"
        if self.low <= 1 <= self.high:
            return "no difference seen"
        grown = self.low > 1
        if not is_speed(self.figure):
            return "more" if grown else "less"
        return "faster" if grown == is_more_better(self.figure) else "slower"

    @property
    def slowdown(self) -> float | None:
        """The factor by which B is at least slower, by the lower end of the interval."""
        if self.low is None or self.high is None or not is_speed(self.figure):
            return None
        return 1 / self.high if is_more_better(self.figure) else self.low


def compare(a: Path, b: Path, fail_if_slower: float | None = None, console: Console | None = None) -> int:
    """Print the comparison of two files, and return the exit status.

    It is 1 if a figure is surely slower by more than `fail_if_slower` times.
    """
    output = console or Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
    before, after = list(read_measurements(a)), list(read_measurements(b))
    comparisons = compare_results(before, after)
    output.print(render_table(_comparison_table(f"A: {a.name}   B: {b.name}", comparisons)))
    for remark in list_remarks(before, after):
        output.print(printable(remark), style="bold yellow", markup=False, highlight=False)
    slower = [
        measurement for measurement in comparisons if fail_if_slower and (measurement.slowdown or 0) > fail_if_slower
    ]
    for name, target in dict.fromkeys((measurement.name, measurement.target) for measurement in slower):
        named = ", ".join(
            measurement.figure for measurement in slower if (measurement.name, measurement.target) == (name, target)
        )
        text = f"SLOWER by more than {fail_if_slower:g} times: {name}, {target}: {named}"
        output.print(printable(text), style="bold red", markup=False, highlight=False)
    return 1 if slower else 0


def compare_results(a: Iterable[Repeat | Figure], b: Iterable[Repeat | Figure]) -> list[Comparison]:
    """Compare all figures that are in both, by name and target."""
    return [
        _compare_figure(before, figure, after.values[figure])
        for before, after in _pairs(group_measurements(a), group_measurements(b))
        for figure in before.values
        if figure in after.values and figure not in IGNORED_FIGURES
    ]


def _pairs(a: Sequence[Measurement], b: Sequence[Measurement]) -> Iterator[tuple[Measurement, Measurement]]:
    after = {(measurement.name, measurement.target): measurement for measurement in b}
    return (
        (measurement, after[measurement.name, measurement.target])
        for measurement in a
        if (measurement.name, measurement.target) in after
    )


def _compare_figure(measurement: Measurement, figure: str, b: list[float]) -> Comparison:
    a = measurement.values[figure]
    known = Comparison(name=measurement.name, target=measurement.target, figure=figure, a=a, b=b, ratio=None)
    if min(*a, *b) <= 0:
        return known
    ratio = spread_of(b).median / spread_of(a).median
    if min(len(a), len(b)) < MIN_REPEATS:
        return structs.replace(known, ratio=ratio)
    low, high = bootstrap_interval(a, b)
    return structs.replace(known, ratio=ratio, low=low, high=high)


def bootstrap_interval(a: Sequence[float], b: Sequence[float], share: float = 0.95) -> tuple[float, float]:
    """Return the interval that holds the ratio of B's median to A's in `share` of all cases.

    The same values give the same interval.
    """
    draws = np.random.default_rng(SEED)
    ratios = _medians(b, draws) / _medians(a, draws)
    low, high = np.quantile(ratios, [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(high)


def _medians(values: Sequence[float], draws: np.random.Generator) -> np.ndarray:
    return np.median(draws.choice(np.asarray(values), (DRAWS, len(values))), axis=1)


def _comparison_table(title: str, comparisons: Sequence[Comparison]) -> TableData:
    columns = ["measurement", "target", "figure", "verdict", "A", "B", "B / A", "95 % interval"]
    return TableData(
        title=title, columns=columns, rows=[_row(measurement) for measurement in comparisons], word_columns=4
    )


def _row(measurement: Comparison) -> list[CellValue]:
    medians = [format_number(spread_of(values).median) for values in (measurement.a, measurement.b)]
    ratio = "" if measurement.ratio is None else f"{measurement.ratio:.3f}"
    between = "" if measurement.low is None else f"{measurement.low:.3f}–{measurement.high:.3f}"
    return [measurement.name, measurement.target, measurement.figure, measurement.verdict, *medians, ratio, between]


def list_remarks(a: Sequence[Repeat | Figure], b: Sequence[Repeat | Figure]) -> Iterator[str]:
    """Yield what makes a comparison doubtful, and what has no counterpart."""
    before, after = group_measurements(a), group_measurements(b)
    for name, here, there in (("A", before, after), ("B", after, before)):
        known = {(measurement.name, measurement.target) for measurement in there}
        for measurement in here:
            if (measurement.name, measurement.target) not in known:
                yield f"only in {name}: {measurement.name}, {measurement.target}"
            if measurement.wrong:
                yield f"WRONG ANSWERS in {name}: {measurement.wrong:,} of {measurement.name}, {measurement.target}"
    for measurement, other in _pairs(before, after):
        yield from _list_doubts(measurement, other)
    yield from _compare_machines(a, b)


def _list_doubts(before: Measurement, after: Measurement) -> Iterator[str]:
    named = f"{before.name}, {before.target}"
    fewest = min(len(values) for measurement in (before, after) for values in measurement.values.values())
    if fewest < MIN_REPEATS:
        yield f"too few repeats: {named} has {fewest}, and an interval needs {MIN_REPEATS}"
    if before.repeats and after.repeats and _plan(before) != _plan(after):
        yield f"measured with different loads: {named}"


def _plan(measurement: Measurement) -> tuple[object, ...]:
    """Return what matters of a plan: another port, or another seed, is the same load."""
    plan = measurement.repeats[0].plan
    requests = [(request.path, bytes(request.body)) for request in plan.requests]
    return plan.protocol, plan.clients, plan.arrivals, plan.rate, plan.seconds, plan.warm_up, requests


def _compare_machines(a: Sequence[Repeat | Figure], b: Sequence[Repeat | Figure]) -> Iterator[str]:
    if {_hardware(measurement) for measurement in a} != {_hardware(measurement) for measurement in b}:
        yield "measured on different machines"
    for name, measured in (("A", a), ("B", b)):
        first = min(measured, key=lambda measurement: measurement.at, default=None)
        if first is not None and first.machine.busy > QUIET_LOAD_AVERAGE:
            yield f"{name}'s machine was not quiet: a load average of {first.machine.busy:.2f} before the first repeat"


def _hardware(measurement: Repeat | Figure) -> tuple[str, int, float, tuple[str, ...]]:
    return measurement.machine.cpu, measurement.machine.cores, measurement.machine.memory_gib, measurement.machine.gpus
