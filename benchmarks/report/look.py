"""What all plots have in common: colours that every eye tells apart, axes in plain numbers, names beside lines."""

from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from msgspec import Struct

from benchmarks.tables import number, printable

INK: Final = "#24211d"
SOFT: Final = "#6d665e"
GRID: Final = "#e4dfd8"
BAD: Final = "#b3261e"
# Okabe and Ito's, the blue lighter, without the yellow and the black: on paper and in the dark they all can be seen.
COLOURS: Final = ("#d55e00", "#1f83c6", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a8a8a", "#7a5195")
TARGETS: Final = ("samovar", "litserve", "mosec", "bentoml", "ray", "coglet", "bare loop", "bare NATS")
STYLE: Final[dict[Any, Any]] = {
    "font.family": "DejaVu Sans",
    "font.size": 10.5,
    "text.parse_math": False,  # a name with a dollar is a name
    "svg.fonttype": "path",
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
}
"""For a `matplotlib.rc_context`."""


class Drawing(Struct, frozen=True, kw_only=True):
    kind: Literal["percentiles", "throughput", "timeline"]
    title: str
    figure: Figure


class Label(Struct, frozen=True):
    """A name, the colour of its line, and where that ends on its axes' y."""

    text: str
    colour: str
    y: float


def colours(names: Sequence[str]) -> dict[str, str]:
    """A target has the same in every plot; other names have one each, as far as they go."""
    free = [colour for colour, target in zip(COLOURS, TARGETS, strict=True) if target not in names]
    unknown = [name for name in dict.fromkeys(names) if name not in TARGETS]
    others = {name: (free or COLOURS)[index % len(free or COLOURS)] for index, name in enumerate(unknown)}
    return dict(zip(TARGETS, COLOURS, strict=True)) | others


def canvas(title: str, note: str, rows: int = 1, height: float = 4.5) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(8.4, height), dpi=120, layout="constrained")
    axes = figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0].tolist()
    axes[0].set_title(fitting(title, 80), loc="left", fontsize=13, fontweight="bold", pad=24)
    axes[0].text(0, 1.025, note, transform=axes[0].transAxes, color=SOFT, va="bottom", fontsize=9.5)
    for one in axes:
        one.grid(visible=True, which="major")
        one.tick_params(which="both", length=0)
    return figure, axes


def logarithmic_ms(axes: Axes) -> None:
    """1, 2, 5, 10: as numbers, not as powers."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=20))
    axes.yaxis.set_major_formatter(FuncFormatter(plain))
    axes.yaxis.set_minor_formatter(NullFormatter())


def plain(value: float, _: int | None) -> str:
    return f"{value:g}" if value < 1 else number(value).removesuffix(".00").removesuffix(".0")


def name_lines(axes: Axes, labels: Iterable[Label]) -> None:
    """To the right of the axes, at the height where each line ends, pushed apart where they would overlap."""
    height = axes.get_position().height * (axes.figure.get_figure(root=True) or axes.figure).bbox.height
    apart = 15 * 120 / 72 / height
    placed = sorted(((_fraction(axes, label.y), label) for label in labels), key=lambda one: one[0])
    for (_, label), y in zip(placed, _apart([y for y, _ in placed], apart), strict=True):
        text = fitting(label.text, 32)
        axes.text(1.012, y, text, color=label.colour, transform=axes.transAxes, va="center", fontweight="bold")


def fitting(text: str, most: int) -> str:
    """A name that leaves room for the plot."""
    shown = printable(text).replace("\n", " ")
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def _fraction(axes: Axes, y: float) -> float:
    return float(axes.transAxes.inverted().transform(axes.transData.transform((axes.get_xlim()[1], y)))[1])


def _apart(heights: Sequence[float], least: float) -> list[float]:
    """Pushed up from below, then back down from the top as far as it must be; `heights` are sorted."""
    up: list[float] = []
    for y in heights:
        up.append(max(y, up[-1] + least) if up else y)
    down: list[float] = []
    for y in reversed(up):
        down.append(min(y, down[-1] - least) if down else min(y, 1.0))
    return down[::-1]
