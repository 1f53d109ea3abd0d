"""Timelines: each request of a measurement at the time it was sent, and the answers in every 100 ms."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from benchmarks.figures import Measurement
from benchmarks.report.plot_style import (
    COLORS,
    ERROR_COLOR,
    Plot,
    choose_colors,
    create_figure,
    format_plain,
    use_logarithmic_ms,
)
from benchmarks.samples import Repeat, Sample

BIN_SECONDS: Final = 0.1
"""Seconds of one bin."""


def timeline_plots(measurements: Sequence[Measurement]) -> Iterator[Plot]:
    """Yield a timeline of each measurement that has requests."""
    return (
        _timeline_plot(measurement)
        for measurement in measurements
        if any(repeat.samples for repeat in measurement.repeats)
    )


def _timeline_plot(measurement: Measurement) -> Plot:
    title = f"{measurement.name}: {measurement.target}"
    wrong = f"; red crosses: {measurement.wrong:,} wrong answers" if measurement.wrong else ""
    note = f"{len(measurement.repeats)} repeats on top of each other; thick: their median{wrong}"
    figure, (above, below) = create_figure(f"Timeline: {title}", note, rows=2, height=5.2)
    colour = choose_colors([measurement.target]).get(measurement.target, COLORS[0])
    _requests(above, measurement.repeats, colour)
    _rates(below, measurement.repeats, colour)
    below.set_xlabel("seconds since the repeat began")
    below.set_xlim(0, max(repeat.seconds for repeat in measurement.repeats))
    return Plot(kind="timeline", title=title, figure=figure)


def _requests(axes: Axes, repeats: Sequence[Repeat], colour: str) -> None:
    """Draw the requests: many of them faint, the slowest hundredth strong, as it matters most."""
    samples = [sample for repeat in repeats for sample in repeat.samples]
    right = _points(sample for sample in samples if sample.error is None)
    slow = right[:, 1] > np.quantile(right[:, 1], 0.99) if len(right) else np.zeros(0, dtype=bool)
    faint = float(np.clip(3000 / max(len(samples), 1), 0.08, 0.6))
    for points, alpha in ((right[~slow], faint), (right[slow], 0.7)):
        # Rasterized in an SVG too: a hundred thousand points would be as many elements.
        axes.plot(*points.T, ".", color=colour, markersize=3.5, alpha=alpha, markeredgewidth=0, rasterized=True)
    wrong = _points(sample for sample in samples if sample.error is not None)
    axes.plot(*wrong.T, "x", color=ERROR_COLOR, markersize=6, rasterized=len(wrong) > 500)
    use_logarithmic_ms(axes)
    axes.set_ylabel("latency, ms")


def _points(samples: Iterable[Sample]) -> np.ndarray:
    """Return seconds and milliseconds of samples."""
    return np.asarray([(measurement.at / 1e6, max(measurement.latency, 1) / 1000) for measurement in samples]).reshape(
        -1, 2
    )


def _rates(axes: Axes, repeats: Sequence[Repeat], colour: str) -> None:
    """Draw a thin line per repeat, and their median."""
    count = max(int(max(repeat.seconds for repeat in repeats) / BIN_SECONDS), 1)
    edges = np.arange(count + 1) * BIN_SECONDS
    each = np.asarray([_answer_rates(repeat, edges) for repeat in repeats])
    for rates in each:
        axes.stairs(rates, edges, color=colour, alpha=0.3, linewidth=0.9, baseline=None)
    axes.stairs(np.median(each, axis=0), edges, color=colour, linewidth=2, baseline=None)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("answered/s, per 100 ms")
    axes.yaxis.set_major_formatter(FuncFormatter(format_plain))


def _answer_rates(repeat: Repeat, edges: np.ndarray) -> np.ndarray:
    ends = [(sample.at + sample.latency) / 1e6 for sample in repeat.samples if sample.error is None]
    return np.histogram(ends, edges)[0] / BIN_SECONDS
