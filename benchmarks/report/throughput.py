"""Throughput against latency: what a target bears, and what that costs who waits."""

from collections.abc import Iterator, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from benchmarks.figures import Measurement, Spread, spread_of
from benchmarks.report.look import Drawing, canvas, colours, fitting, logarithmic_ms, plain
from benchmarks.report.percentiles import group


def throughput(found: Sequence[Measurement]) -> Iterator[Drawing]:
    """One per group of names in which some target was measured under more than one load."""
    told = [one for one in found if "p50 ms" in one.values]
    for common in dict.fromkeys(group(one.name) for one in told):
        several = [one for one in told if group(one.name) == common]
        if any(len(curve) > 1 for curve in _curves(several)):
            yield _drawing(common, several)


def _curves(several: Sequence[Measurement]) -> list[list[Measurement]]:
    """What may be joined by a line: one target, asked in one way, by ever more clients."""
    curves: dict[tuple[str, str, str], list[Measurement]] = {}
    for one in several:
        plan = one.repeats[0].plan
        curves.setdefault((one.target, plan.protocol, plan.arrivals), []).append(one)
    return [sorted(curve, key=_load) for curve in curves.values()]


def _load(one: Measurement) -> tuple[float, int]:
    plan = one.repeats[0].plan
    return plan.rate, plan.clients


def _drawing(common: str, several: Sequence[Measurement]) -> Drawing:
    note = "filled: p50; hollow: p99; bars: least to most; small numbers: clients, or arrivals per second"
    figure, (axes,) = canvas(f"Throughput against latency: {common}", note, height=5.0)
    logarithmic_ms(axes)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=20))
    axes.xaxis.set_major_formatter(FuncFormatter(plain))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.06, y=0.08)
    axes.set_xlabel("requests/s")
    axes.set_ylabel("latency, ms")
    chosen = colours([one.target for one in several])
    for curve in _curves(several):
        _curve(axes, curve, chosen[curve[0].target])
    return Drawing(kind="throughput", title=common, figure=figure)


def _curve(axes: Axes, curve: Sequence[Measurement], colour: str) -> None:
    x = [_spread(one, "requests/s").median for one in curve]
    for name, style, face in (("p50 ms", "-", colour), ("p99 ms", ":", "none")):
        spreads = [_spread(one, name) for one in curve]
        y = [spread.median for spread in spreads]
        axes.plot(x, y, style, color=colour, linewidth=1.8, marker="o", markersize=6, markerfacecolor=face)
        axes.vlines(x, [one.least for one in spreads], [one.most for one in spreads], color=colour, alpha=0.5)
    for one, right in zip(curve, x, strict=True):
        at = (right, _spread(one, "p50 ms").median)
        axes.annotate(_load_in_words(one), at, (0, -6), textcoords="offset points", ha="center", va="top", fontsize=8.5)
    last = (x[-1], _spread(curve[-1], "p50 ms").median)
    name = _curve_name(curve[-1])
    axes.annotate(name, last, (9, 0), textcoords="offset points", va="center", color=colour, fontweight="bold")


def _load_in_words(one: Measurement) -> str:
    plan = one.repeats[0].plan
    return str(plan.clients) if plan.arrivals == "closed" else f"{plan.rate:,.0f}/s"


def _curve_name(one: Measurement) -> str:
    """The target, and how it was asked if that is not the usual."""
    plan = one.repeats[0].plan
    usual = {"sync", "plain", "closed"}
    return fitting(", ".join([one.target, *(word for word in (plan.protocol, plan.arrivals) if word not in usual)]), 32)


def _spread(one: Measurement, name: str) -> Spread:
    return spread_of(one.values[name])
