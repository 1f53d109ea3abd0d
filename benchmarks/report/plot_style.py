"""The style of all plots: colors for every eye, axes in plain numbers, names beside lines."""

from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from msgspec import Struct

from benchmarks.tables import format_number, printable

INK: Final = "#24211d"
MUTED: Final = "#6d665e"
GRID: Final = "#e4dfd8"
ERROR_COLOR: Final = "#b3261e"
# Okabe and Ito's colors, with a lighter blue and without yellow and black: visible on paper and in the dark.
COLORS: Final = ("#d55e00", "#1f83c6", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a8a8a", "#7a5195")
TARGETS: Final = ("samovar", "litserve", "mosec", "bentoml", "ray", "coglet", "bare loop", "bare NATS")
STYLE: Final[dict[Any, Any]] = {
    "font.family": "DejaVu Sans",
    "font.size": 10.5,
    "text.parse_math": False,  # a dollar in a name is no formula
    "svg.fonttype": "path",
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
}
"""The settings for a `matplotlib.rc_context`."""


class Plot(Struct, frozen=True, kw_only=True):
    """A plot, drawn."""

    kind: Literal["percentiles", "throughput", "timeline"]
    title: str
    figure: Figure


class Label(Struct, frozen=True):
    """A name, the color of its line, and where the line ends on the y axis."""

    text: str
    colour: str
    y: float


def choose_colors(names: Sequence[str]) -> dict[str, str]:
    """Return a color for each name; a target has the same one in every plot."""
    free = [colour for colour, target in zip(COLORS, TARGETS, strict=True) if target not in names]
    unknown = [name for name in dict.fromkeys(names) if name not in TARGETS]
    others = {name: (free or COLORS)[index % len(free or COLORS)] for index, name in enumerate(unknown)}
    return dict(zip(TARGETS, COLORS, strict=True)) | others


def create_figure(title: str, note: str, rows: int = 1, height: float = 4.5) -> tuple[Figure, list[Axes]]:
    """Return a figure with a title, a note below it, and rows of axes."""
    figure = Figure(figsize=(8.4, height), dpi=120, layout="constrained")
    axes = figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0].tolist()
    axes[0].set_title(shorten(title, 80), loc="left", fontsize=13, fontweight="bold", pad=24)
    axes[0].text(0, 1.025, note, transform=axes[0].transAxes, color=MUTED, va="bottom", fontsize=9.5)
    for each in axes:
        each.grid(visible=True, which="major")
        each.tick_params(which="both", length=0)
    return figure, axes


def use_logarithmic_ms(axes: Axes) -> None:
    """Give the y axis a logarithmic scale with the ticks 1, 2, 5, 10, as plain numbers."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=20))
    axes.yaxis.set_major_formatter(FuncFormatter(format_plain))
    axes.yaxis.set_minor_formatter(NullFormatter())


def format_plain(value: float, _: int | None) -> str:
    """Format the number of a tick."""
    return f"{value:g}" if value < 1 else format_number(value).removesuffix(".00").removesuffix(".0")


def label_lines(axes: Axes, labels: Iterable[Label]) -> None:
    """Write the names to the right of the axes, at the ends of their lines, pushed apart where they would overlap."""
    height = axes.get_position().height * (axes.figure.get_figure(root=True) or axes.figure).bbox.height
    distance = 15 * 120 / 72 / height
    ordered = sorted(((_fraction(axes, label.y), label) for label in labels), key=lambda one: one[0])
    for (_, label), y in zip(ordered, _push_apart([y for y, _ in ordered], distance), strict=True):
        text = shorten(label.text, 32)
        axes.text(1.012, y, text, color=label.colour, transform=axes.transAxes, va="center", fontweight="bold")


def shorten(text: str, max_length: int) -> str:
    """Shorten a name, so that it leaves room for the plot."""
    line = printable(text).replace("\n", " ")
    return line if len(line) <= max_length else f"{line[: max_length - 1]}…"


def _fraction(axes: Axes, y: float) -> float:
    return float(axes.transAxes.inverted().transform(axes.transData.transform((axes.get_xlim()[1], y)))[1])


def _push_apart(heights: Sequence[float], least: float) -> list[float]:
    """Push sorted heights up from below, then back down from the top as far as they must go."""
    up: list[float] = []
    for y in heights:
        up.append(max(y, up[-1] + least) if up else y)
    down: list[float] = []
    for y in reversed(up):
        down.append(min(y, down[-1] - least) if down else min(y, 1.0))
    return down[::-1]
