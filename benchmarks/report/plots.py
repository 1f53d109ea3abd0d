"""Plots of measurements, as PNG files and as SVG for a page."""

import io
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import matplotlib as mpl

from benchmarks.figures import Measurement, group_measurements
from benchmarks.report.percentiles import percentile_plots
from benchmarks.report.plot_style import STYLE, Plot
from benchmarks.report.throughput import throughput_plots
from benchmarks.report.timeline import timeline_plots
from benchmarks.samples import Figure, Repeat


def write_plots(measured: Iterable[Repeat | Figure], folder: Path) -> list[Path]:
    """Write the plots as PNG files, such as `percentiles-no-op-32-clients.png`, and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for plot in create_plots(group_measurements(measured)):
        path = _free_path(folder, _slug(f"{plot.kind} {plot.title}"), written)
        with mpl.rc_context(STYLE):
            plot.figure.savefig(path, facecolor="white", metadata={"Software": None})
        written.append(path)
    return written


def create_plots(measurements: Sequence[Measurement]) -> Iterator[Plot]:
    """Yield one plot after the other; a figure is large, and is freed once it is written."""
    for kind in (percentile_plots, throughput_plots, timeline_plots):
        plots = kind(measurements)
        while True:
            with mpl.rc_context(STYLE):  # not around the yield: the caller's own settings are its own
                plot = next(plots, None)
            if plot is None:
                break
            yield plot


def render_svg(plot: Plot) -> str:
    """Return a plot as SVG without a background.

    Its ids derive from its title, so that no two plots share one.
    """
    buffer = io.StringIO()
    with mpl.rc_context({**STYLE, "svg.hashsalt": f"{plot.kind} {plot.title}"}):
        plot.figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return buffer.getvalue()[buffer.getvalue().index("<svg") :]


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:100] or "plot"


def _free_path(folder: Path, slug: str, written: Sequence[Path]) -> Path:
    """Return a path that is not taken; names that differ only in signs get a file each."""
    path, number = folder / f"{slug}.png", 2
    while path in written:
        path, number = folder / f"{slug}-{number}.png", number + 1
    return path
