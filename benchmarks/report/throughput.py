"""Plots of throughput against latency: what a target bears, and what that costs clients."""

from collections.abc import Iterator, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from benchmarks.figures import Measurement, Spread, spread_of
from benchmarks.report.percentiles import group_name
from benchmarks.report.plot_style import Plot, choose_colors, create_figure, format_plain, shorten, use_logarithmic_ms


def throughput_plots(measurements: Sequence[Measurement]) -> Iterator[Plot]:
    """Yield a plot for each group of names in which a target was measured under more than one load."""
    measured = [measurement for measurement in measurements if "p50 ms" in measurement.values]
    for common in dict.fromkeys(group_name(measurement.name) for measurement in measured):
        several = [measurement for measurement in measured if group_name(measurement.name) == common]
        if any(len(curve) > 1 for curve in _curves(several)):
            yield _drawing(common, several)


def _curves(several: Sequence[Measurement]) -> list[list[Measurement]]:
    """What may be joined by a line: one target, asked in one way, by ever more clients."""
    curves: dict[tuple[str, str, str], list[Measurement]] = {}
    for measurement in several:
        plan = measurement.repeats[0].plan
        curves.setdefault((measurement.target, plan.protocol, plan.arrivals), []).append(measurement)
    return [sorted(curve, key=_load) for curve in curves.values()]


def _load(measurement: Measurement) -> tuple[float, int]:
    plan = measurement.repeats[0].plan
    return plan.rate, plan.clients


def _drawing(common: str, several: Sequence[Measurement]) -> Plot:
    note = "filled: p50; hollow: p99; bars: least to most; small numbers: clients, or arrivals per second"
    figure, (axes,) = create_figure(f"Throughput against latency: {common}", note, height=5.0)
    use_logarithmic_ms(axes)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=20))
    axes.xaxis.set_major_formatter(FuncFormatter(format_plain))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.06, y=0.08)
    axes.set_xlabel("requests/s")
    axes.set_ylabel("latency, ms")
    chosen = choose_colors([measurement.target for measurement in several])
    for curve in _curves(several):
        _curve(axes, curve, chosen[curve[0].target])
    return Plot(kind="throughput", title=common, figure=figure)


def _curve(axes: Axes, curve: Sequence[Measurement], colour: str) -> None:
    x = [_spread(measurement, "requests/s").median for measurement in curve]
    for name, style, face in (("p50 ms", "-", colour), ("p99 ms", ":", "none")):
        spreads = [_spread(measurement, name) for measurement in curve]
        y = [spread.median for spread in spreads]
        axes.plot(x, y, style, color=colour, linewidth=1.8, marker="o", markersize=6, markerfacecolor=face)
        axes.vlines(
            x,
            [measurement.least for measurement in spreads],
            [measurement.most for measurement in spreads],
            color=colour,
            alpha=0.5,
        )
    for measurement, right in zip(curve, x, strict=True):
        at = (right, _spread(measurement, "p50 ms").median)
        axes.annotate(
            _describe_load(measurement), at, (0, -6), textcoords="offset points", ha="center", va="top", fontsize=8.5
        )
    last = (x[-1], _spread(curve[-1], "p50 ms").median)
    name = _curve_name(curve[-1])
    axes.annotate(name, last, (9, 0), textcoords="offset points", va="center", color=colour, fontweight="bold")


def _describe_load(measurement: Measurement) -> str:
    plan = measurement.repeats[0].plan
    return str(plan.clients) if plan.arrivals == "closed" else f"{plan.rate:,.0f}/s"


def _curve_name(measurement: Measurement) -> str:
    """Return the target, and the load if it is not the usual one."""
    plan = measurement.repeats[0].plan
    usual = {"sync", "plain", "closed"}
    return shorten(
        ", ".join([measurement.target, *(word for word in (plan.protocol, plan.arrivals) if word not in usual)]), 32
    )


def _spread(measurement: Measurement, name: str) -> Spread:
    return spread_of(measurement.values[name])
