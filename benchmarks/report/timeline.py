"""A timeline: every request of a measurement at the moment it was sent, and how many were answered every 100 ms."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from benchmarks.figures import Measurement
from benchmarks.report.look import BAD, COLOURS, Drawing, canvas, colours, logarithmic_ms, plain
from benchmarks.samples import Repeat, Sample

BIN: Final = 0.1
"""Seconds."""


def timelines(found: Sequence[Measurement]) -> Iterator[Drawing]:
    return (_drawing(one) for one in found if any(repeat.samples for repeat in one.repeats))


def _drawing(one: Measurement) -> Drawing:
    title = f"{one.name}: {one.target}"
    wrong = f"; red crosses: {one.wrong:,} wrong answers" if one.wrong else ""
    note = f"{len(one.repeats)} repeats on top of each other; thick: their median{wrong}"
    figure, (above, below) = canvas(f"Timeline: {title}", note, rows=2, height=5.2)
    colour = colours([one.target]).get(one.target, COLOURS[0])
    _requests(above, one.repeats, colour)
    _rates(below, one.repeats, colour)
    below.set_xlabel("seconds since the repeat began")
    below.set_xlim(0, max(repeat.seconds for repeat in one.repeats))
    return Drawing(kind="timeline", title=title, figure=figure)


def _requests(axes: Axes, repeats: Sequence[Repeat], colour: str) -> None:
    """Many are faint, but not the slowest hundredth: those are what one looks for."""
    samples = [sample for repeat in repeats for sample in repeat.samples]
    right = _points(sample for sample in samples if sample.error is None)
    slow = right[:, 1] > np.quantile(right[:, 1], 0.99) if len(right) else np.zeros(0, dtype=bool)
    faint = float(np.clip(3000 / max(len(samples), 1), 0.08, 0.6))
    for points, alpha in ((right[~slow], faint), (right[slow], 0.7)):
        # One picture in an SVG too: a hundred thousand points would be as many elements.
        axes.plot(*points.T, ".", color=colour, markersize=3.5, alpha=alpha, markeredgewidth=0, rasterized=True)
    wrong = _points(sample for sample in samples if sample.error is not None)
    axes.plot(*wrong.T, "x", color=BAD, markersize=6, rasterized=len(wrong) > 500)
    logarithmic_ms(axes)
    axes.set_ylabel("latency, ms")


def _points(samples: Iterable[Sample]) -> np.ndarray:
    """Seconds, milliseconds."""
    return np.asarray([(one.at / 1e6, max(one.latency, 1) / 1000) for one in samples]).reshape(-1, 2)


def _rates(axes: Axes, repeats: Sequence[Repeat], colour: str) -> None:
    """A thin line per repeat, and their median."""
    count = max(int(max(repeat.seconds for repeat in repeats) / BIN), 1)
    edges = np.arange(count + 1) * BIN
    each = np.asarray([_answered(repeat, edges) for repeat in repeats])
    for rates in each:
        axes.stairs(rates, edges, color=colour, alpha=0.3, linewidth=0.9, baseline=None)
    axes.stairs(np.median(each, axis=0), edges, color=colour, linewidth=2, baseline=None)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("answered/s, per 100 ms")
    axes.yaxis.set_major_formatter(FuncFormatter(plain))


def _answered(repeat: Repeat, edges: np.ndarray) -> np.ndarray:
    ends = [(sample.at + sample.latency) / 1e6 for sample in repeat.samples if sample.error is None]
    return np.histogram(ends, edges)[0] / BIN
