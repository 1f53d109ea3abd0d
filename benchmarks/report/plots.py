"""Plots of measurements: as PNG files, and as SVG for a page."""

import io
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import matplotlib as mpl

from benchmarks.figures import Measurement, measurements
from benchmarks.report.look import STYLE, Drawing
from benchmarks.report.percentiles import percentiles
from benchmarks.report.throughput import throughput
from benchmarks.report.timeline import timelines
from benchmarks.samples import Figure, Repeat


def write_plots(measured: Iterable[Repeat | Figure], folder: Path) -> list[Path]:
    """The PNG files that were written: `percentiles-no-op-32-clients.png`, …"""
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for drawing in drawings(measurements(measured)):
        path = _free(folder, _slug(f"{drawing.kind} {drawing.title}"), written)
        with mpl.rc_context(STYLE):
            drawing.figure.savefig(path, facecolor="white", metadata={"Software": None})
        written.append(path)
    return written


def drawings(found: Sequence[Measurement]) -> Iterator[Drawing]:
    """One after the other: a figure is large, and is let go once it has been written."""
    for kind in (percentiles, throughput, timelines):
        made = kind(found)
        while True:
            with mpl.rc_context(STYLE):  # not around the yield: the caller's own settings are its own
                drawing = next(made, None)
            if drawing is None:
                break
            yield drawing


def svg(drawing: Drawing) -> str:
    """With no background, to be part of a page. Its ids are of its own title, so that no two drawings share one."""
    written = io.StringIO()
    with mpl.rc_context({**STYLE, "svg.hashsalt": f"{drawing.kind} {drawing.title}"}):
        drawing.figure.savefig(written, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return written.getvalue()[written.getvalue().index("<svg") :]


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:100] or "plot"


def _free(folder: Path, slug: str, written: Sequence[Path]) -> Path:
    """Names that differ by signs only still have a file each."""
    path, number = folder / f"{slug}.png", 2
    while path in written:
        path, number = folder / f"{slug}-{number}.png", number + 1
    return path
