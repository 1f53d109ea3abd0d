"""Latency percentiles, their axis stretched towards the slowest: a line per target, or per measurement."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from benchmarks.figures import Measurement, histogram, merged, values_at
from benchmarks.report.look import Drawing, Label, canvas, colours, logarithmic_ms, name_lines
from benchmarks.samples import Repeat

POINTS: Final = 120
LINES: Final = 8
"""That one plot bears."""
NOTE: Final = "line: all repeats together; band: from the best repeat to the worst"
TICKS: Final = {
    1: "0",
    2: "50 %",
    10: "90 %",
    100: "99 %",
    1000: "99.9 %",
    10**4: "99.99 %",
    10**5: "99.999 %",
}
"""One request in so many takes longer."""


def percentiles(found: Sequence[Measurement]) -> Iterator[Drawing]:
    """One for each name that several targets have, then one for what is left of each target and group of names."""
    told = [one for one in found if any(s.error is None for repeat in one.repeats for s in repeat.samples)]
    left: dict[tuple[str, str], list[Measurement]] = {}
    for name in dict.fromkeys(one.name for one in told):
        same = [one for one in told if one.name == name]
        if len(same) > 1:
            yield _drawing(name, {one.target: one for one in same})
        else:
            left.setdefault((group(name), same[0].target), []).append(same[0])
    for (common, target), several in left.items():
        for first in range(0, len(several), LINES):
            shown = several[first : first + LINES]
            title = shown[0].name if len(shown) == 1 else common
            yield _drawing(f"{title}: {target}", {one.name: one for one in shown})


def group(name: str) -> str:
    """`no-op` of `no-op, 32 clients`."""
    return name.partition(",")[0]


def _drawing(title: str, lines: dict[str, Measurement]) -> Drawing:
    figure, (axes,) = canvas(f"Latency by percentile: {title}", NOTE)
    most = max(len(one.repeats[0].samples) * len(one.repeats) for one in lines.values())
    _percentile_axis(axes, most)
    logarithmic_ms(axes)
    axes.set_ylabel("latency, ms")
    chosen = colours(list(lines))
    ends = [_line(axes, name, one.repeats, chosen[name]) for name, one in lines.items()]
    name_lines(axes, ends)
    return Drawing(kind="percentiles", title=title, figure=figure)


def _line(axes: Axes, name: str, repeats: Sequence[Repeat], colour: str) -> Label:
    """All repeats together, on a band from the least to the most of them."""
    right = sum(s.error is None for repeat in repeats for s in repeat.samples)
    stretched = np.geomspace(1, max(right, 2), POINTS)
    levels = (100 * (1 - 1 / stretched)).tolist()
    line = [value / 1000 for value in values_at(merged(repeats), levels)]
    each = [values_at(histogram(_right(repeat)), levels) for repeat in repeats if _right(repeat)]
    band = np.asarray(each, dtype=float) / 1000
    axes.fill_between(stretched, band.min(axis=0), band.max(axis=0), color=colour, alpha=0.16, linewidth=0)
    axes.plot(stretched, line, color=colour, linewidth=2.2)
    return Label(name, colour, line[-1])


def _right(repeat: Repeat) -> list[int]:
    return [sample.latency for sample in repeat.samples if sample.error is None]


def _percentile_axis(axes: Axes, most: int) -> None:
    axes.set_xscale("log")
    axes.set_xlim(1, max(most, 10))
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in TICKS if tick <= max(most, 10)]))
    axes.xaxis.set_major_formatter(FuncFormatter(_share))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("share of requests that took no longer")


def _share(value: float, _: int | None) -> str:
    return TICKS.get(round(value), "")
