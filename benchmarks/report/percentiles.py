"""Plots of latency percentiles, with an axis stretched towards the slowest: a line per target or measurement."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from benchmarks.figures import Measurement, create_histogram, merged_histogram, percentile_values
from benchmarks.report.plot_style import Label, Plot, choose_colors, create_figure, label_lines, use_logarithmic_ms
from benchmarks.samples import Repeat

POINTS: Final = 120
MAX_LINES: Final = 8
"""The most lines in one plot."""
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
"""Labels of the ticks: one request in so many takes longer."""


def percentile_plots(measurements: Sequence[Measurement]) -> Iterator[Plot]:
    """Yield a plot for each name that several targets have, then for the rest of each target and group of names."""
    answered = [
        measurement
        for measurement in measurements
        if any(s.error is None for repeat in measurement.repeats for s in repeat.samples)
    ]
    remaining: dict[tuple[str, str], list[Measurement]] = {}
    for name in dict.fromkeys(measurement.name for measurement in answered):
        same = [measurement for measurement in answered if measurement.name == name]
        if len(same) > 1:
            yield _percentile_plot(name, {measurement.target: measurement for measurement in same})
        else:
            remaining.setdefault((group_name(name), same[0].target), []).append(same[0])
    for (common, target), several in remaining.items():
        for first in range(0, len(several), MAX_LINES):
            selected = several[first : first + MAX_LINES]
            title = selected[0].name if len(selected) == 1 else common
            yield _percentile_plot(f"{title}: {target}", {measurement.name: measurement for measurement in selected})


def group_name(name: str) -> str:
    """Return the group of a name: `no-op` of `no-op, 32 clients`."""
    return name.partition(",")[0]


def _percentile_plot(title: str, lines: dict[str, Measurement]) -> Plot:
    figure, (axes,) = create_figure(f"Latency by percentile: {title}", NOTE)
    most = max(len(measurement.repeats[0].samples) * len(measurement.repeats) for measurement in lines.values())
    _percentile_axis(axes, most)
    use_logarithmic_ms(axes)
    axes.set_ylabel("latency, ms")
    colors = choose_colors(list(lines))
    ends = [_line(axes, name, measurement.repeats, colors[name]) for name, measurement in lines.items()]
    label_lines(axes, ends)
    return Plot(kind="percentiles", title=title, figure=figure)


def _line(axes: Axes, name: str, repeats: Sequence[Repeat], colour: str) -> Label:
    """Draw all repeats as one line, on a band from the least to the most of them."""
    right = sum(s.error is None for repeat in repeats for s in repeat.samples)
    stretched = np.geomspace(1, max(right, 2), POINTS)
    levels = (100 * (1 - 1 / stretched)).tolist()
    line = [value / 1000 for value in percentile_values(merged_histogram(repeats), levels)]
    each = [percentile_values(create_histogram(_latencies(repeat)), levels) for repeat in repeats if _latencies(repeat)]
    band = np.asarray(each, dtype=float) / 1000
    axes.fill_between(stretched, band.min(axis=0), band.max(axis=0), color=colour, alpha=0.16, linewidth=0)
    axes.plot(stretched, line, color=colour, linewidth=2.2)
    return Label(name, colour, line[-1])


def _latencies(repeat: Repeat) -> list[int]:
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
