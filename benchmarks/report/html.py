"""Results as one HTML page: tables, plots and plans, with nothing outside the file."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from msgspec import Struct

from benchmarks.figures import Measurement, Spread, group_measurements
from benchmarks.report.plot_style import GRID, INK, MUTED, Plot
from benchmarks.report.plots import create_plots, render_svg
from benchmarks.samples import Figure, Repeat
from benchmarks.tables import (
    error_table,
    format_number,
    format_range,
    plan_table,
    printable,
    setting_table,
    table_data,
    time_span,
)

FOLDER: Final = Path(__file__).parent
COLOR_VARIABLES: Final = {INK: "var(--ink)", MUTED: "var(--soft)", GRID: "var(--line)"}
"""The CSS variables that replace colors of a plot, so that it follows the page."""


class EmbeddedPlot(Struct, frozen=True, kw_only=True):
    """A plot as part of the page."""

    kind: str
    title: str
    svg: Markup


def write_html(measured: Iterable[Repeat | Figure], path: Path) -> None:
    """Write the page of the results."""
    path.write_text(render_page(group_measurements(measured)), encoding="utf-8")


def render_page(measurements: Sequence[Measurement]) -> str:
    """Return the page of the measurements."""
    machine, errors = setting_table(measurements), error_table(measurements)
    tables = [sheet for sheet in table_data(measurements) if sheet.title not in (machine.title, errors.title)]
    return (
        _environment()
        .get_template("page.html")
        .render(
            errors=errors,
            tables=tables,
            plots=[_embed_plot(plot, index) for index, plot in enumerate(create_plots(measurements))],
            plan_table=plan_table(measurements),
            setting=machine,
            targets=list(dict.fromkeys(one.target for one in measurements)),
            measured=len(measurements),
            when=time_span(measurements) if measurements else "",
        )
    )


def _environment() -> Environment:
    """Return an environment that escapes all values, and refuses missing ones."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, loader=FileSystemLoader(FOLDER), trim_blocks=True
    )
    environment.tests["spread"] = _is_spread
    environment.filters.update(number=format_number, between=format_range, printable=printable)
    return environment


def _is_spread(value: Any) -> bool:
    return isinstance(value, Spread)


def _embed_plot(plot: Plot, index: int) -> EmbeddedPlot:
    """Embed a plot.

    All its text was drawn as outlines, so none of it can be markup; comments, which repeat it, are removed.
    """
    markup = re.sub(r"<!--.*?-->", "", render_svg(plot), flags=re.DOTALL)
    markup = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>d{index}-", markup)
    for colour, variable in COLOR_VARIABLES.items():
        markup = markup.replace(colour, variable)
    return EmbeddedPlot(kind=plot.kind, title=plot.title, svg=Markup(markup))
