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

from benchmarks.figures import Measurement, is_speed, measurements, more_is_better, spread_of
from benchmarks.samples import Figure, Repeat, read
from benchmarks.tables import QUIET, WIDTH, Cell, Sheet, as_rich, number, printable

DRAWS: Final = 10_000
FEWEST: Final = 3
"""Repeats below which an interval says nothing."""
SEED: Final = 20_251
NOT_COMPARED: Final = ("wrong", "max ms")
"""A count, which is told apart; one request, which tells nothing of the others."""

Verdict = Literal["faster", "slower", "more", "less", "no difference seen", "too few repeats", "no ratio"]


class Comparison(Struct, frozen=True, kw_only=True):
    """One figure in both files."""

    name: str
    target: str
    figure: str
    a: list[float]
    b: list[float]
    ratio: float | None
    """Of the medians, B's to A's."""
    low: float | None = None
    high: float | None = None

    @property
    def verdict(self) -> Verdict:
        if self.ratio is None:
            return "no ratio"
        if self.low is None or self.high is None:
            return "too few repeats"
        if self.low <= 1 <= self.high:
            return "no difference seen"
        grown = self.low > 1
        if not is_speed(self.figure):
            return "more" if grown else "less"
        return "faster" if grown == more_is_better(self.figure) else "slower"

    @property
    def slowdown(self) -> float | None:
        """How many times slower B is at least, as far as the interval tells."""
        if self.low is None or self.high is None or not is_speed(self.figure):
            return None
        return 1 / self.high if more_is_better(self.figure) else self.low


def compare(a: Path, b: Path, fail_if_slower: float | None = None, console: Console | None = None) -> int:
    """Prints the comparison. The exit code: 1 where something is surely slower by more than `fail_if_slower` times."""
    chosen = console or Console(width=None if sys.stdout.isatty() else WIDTH)
    before, after = list(read(a)), list(read(b))
    found = comparisons(before, after)
    chosen.print(as_rich(_sheet(f"A: {a.name}   B: {b.name}", found)))
    for remark in remarks(before, after):
        chosen.print(printable(remark), style="bold yellow", markup=False, highlight=False)
    slower = [one for one in found if fail_if_slower and (one.slowdown or 0) > fail_if_slower]
    for name, target in dict.fromkeys((one.name, one.target) for one in slower):
        named = ", ".join(one.figure for one in slower if (one.name, one.target) == (name, target))
        said = f"SLOWER by more than {fail_if_slower:g} times: {name}, {target}: {named}"
        chosen.print(printable(said), style="bold red", markup=False, highlight=False)
    return 1 if slower else 0


def comparisons(a: Iterable[Repeat | Figure], b: Iterable[Repeat | Figure]) -> list[Comparison]:
    """Of all that is in both, by name and target."""
    return [
        _compared(before, figure, after.values[figure])
        for before, after in _pairs(measurements(a), measurements(b))
        for figure in before.values
        if figure in after.values and figure not in NOT_COMPARED
    ]


def _pairs(a: Sequence[Measurement], b: Sequence[Measurement]) -> Iterator[tuple[Measurement, Measurement]]:
    after = {(one.name, one.target): one for one in b}
    return ((one, after[one.name, one.target]) for one in a if (one.name, one.target) in after)


def _compared(one: Measurement, figure: str, b: list[float]) -> Comparison:
    a = one.values[figure]
    known = Comparison(name=one.name, target=one.target, figure=figure, a=a, b=b, ratio=None)
    if min(*a, *b) <= 0:
        return known
    ratio = spread_of(b).median / spread_of(a).median
    if min(len(a), len(b)) < FEWEST:
        return structs.replace(known, ratio=ratio)
    low, high = interval(a, b)
    return structs.replace(known, ratio=ratio, low=low, high=high)


def interval(a: Sequence[float], b: Sequence[float], share: float = 0.95) -> tuple[float, float]:
    """That holds the ratio of B's median to A's in `share` of all cases. The same values, the same interval."""
    draws = np.random.default_rng(SEED)
    ratios = _medians(b, draws) / _medians(a, draws)
    low, high = np.quantile(ratios, [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(high)


def _medians(values: Sequence[float], draws: np.random.Generator) -> np.ndarray:
    return np.median(draws.choice(np.asarray(values), (DRAWS, len(values))), axis=1)


def _sheet(title: str, found: Sequence[Comparison]) -> Sheet:
    columns = ["measurement", "target", "figure", "verdict", "A", "B", "B / A", "95 % interval"]
    return Sheet(title=title, columns=columns, rows=[_row(one) for one in found], words=4)


def _row(one: Comparison) -> list[Cell]:
    medians = [number(spread_of(values).median) for values in (one.a, one.b)]
    ratio = "" if one.ratio is None else f"{one.ratio:.3f}"
    between = "" if one.low is None else f"{one.low:.3f}–{one.high:.3f}"
    return [one.name, one.target, one.figure, one.verdict, *medians, ratio, between]


def remarks(a: Sequence[Repeat | Figure], b: Sequence[Repeat | Figure]) -> Iterator[str]:
    """What makes a comparison doubtful, and what has nothing to be compared with."""
    before, after = measurements(a), measurements(b)
    for name, here, there in (("A", before, after), ("B", after, before)):
        known = {(one.name, one.target) for one in there}
        for one in here:
            if (one.name, one.target) not in known:
                yield f"only in {name}: {one.name}, {one.target}"
            if one.wrong:
                yield f"WRONG ANSWERS in {name}: {one.wrong:,} of {one.name}, {one.target}"
    for one, other in _pairs(before, after):
        yield from _doubts(one, other)
    yield from _machines(a, b)


def _doubts(before: Measurement, after: Measurement) -> Iterator[str]:
    named = f"{before.name}, {before.target}"
    fewest = min(len(values) for one in (before, after) for values in one.values.values())
    if fewest < FEWEST:
        yield f"too few repeats: {named} has {fewest}, and an interval needs {FEWEST}"
    if before.repeats and after.repeats and _plan(before) != _plan(after):
        yield f"asked in different ways: {named}"


def _plan(one: Measurement) -> tuple[object, ...]:
    """All that matters of it: another port, or another seed, is the same load."""
    plan = one.repeats[0].plan
    requests = [(request.path, bytes(request.body)) for request in plan.requests]
    return plan.protocol, plan.clients, plan.arrivals, plan.rate, plan.seconds, plan.warm_up, requests


def _machines(a: Sequence[Repeat | Figure], b: Sequence[Repeat | Figure]) -> Iterator[str]:
    if {_hardware(one) for one in a} != {_hardware(one) for one in b}:
        yield "measured on different machines"
    for name, measured in (("A", a), ("B", b)):
        first = min(measured, key=lambda one: one.at, default=None)
        if first is not None and first.machine.busy > QUIET:
            yield f"{name}'s machine was not quiet: a load average of {first.machine.busy:.2f} before the first repeat"


def _hardware(one: Repeat | Figure) -> tuple[str, int, float, tuple[str, ...]]:
    return one.machine.cpu, one.machine.cores, one.machine.memory_gib, one.machine.gpus
