"""Measurements as one page: tables, plots and how it was run, with nothing outside of the file."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from msgspec import Struct

from benchmarks.figures import Measurement, Spread, measurements
from benchmarks.report.look import GRID, INK, SOFT, Drawing
from benchmarks.report.plots import drawings, svg
from benchmarks.samples import Figure, Repeat
from benchmarks.tables import least_to_most, number, plans, printable, setting, sheets, when, wrong

FOLDER: Final = Path(__file__).parent
SCHEME: Final = {INK: "var(--ink)", SOFT: "var(--soft)", GRID: "var(--line)"}
"""Colours of a drawing that follow the page's."""


class Picture(Struct, frozen=True, kw_only=True):
    kind: str
    title: str
    svg: Markup


def write_html(measured: Iterable[Repeat | Figure], path: Path) -> None:
    path.write_text(page(measurements(measured)), encoding="utf-8")


def page(found: Sequence[Measurement]) -> str:
    machine, loud = setting(found), wrong(found)
    kept = [sheet for sheet in sheets(found) if sheet.title not in (machine.title, loud.title)]
    return (
        _environment()
        .get_template("page.html")
        .render(
            loud=loud,
            sheets=kept,
            pictures=[_picture(drawing, index) for index, drawing in enumerate(drawings(found))],
            plans=plans(found),
            setting=machine,
            targets=list(dict.fromkeys(one.target for one in found)),
            measured=len(found),
            when=when(found) if found else "",
        )
    )


def _environment() -> Environment:
    """Escapes all that it is given, and refuses what it was not."""
    made = Environment(autoescape=True, undefined=StrictUndefined, loader=FileSystemLoader(FOLDER), trim_blocks=True)
    made.tests["spread"] = _is_spread
    made.filters.update(number=number, between=least_to_most, printable=printable)
    return made


def _is_spread(value: Any) -> bool:
    return isinstance(value, Spread)


def _picture(drawing: Drawing, index: int) -> Picture:
    """All text in it was drawn as outlines, so that none of it can be markup; comments, which repeat it, go."""
    drawn = re.sub(r"<!--.*?-->", "", svg(drawing), flags=re.DOTALL)
    drawn = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>d{index}-", drawn)
    for colour, variable in SCHEME.items():
        drawn = drawn.replace(colour, variable)
    return Picture(kind=drawing.kind, title=drawing.title, svg=Markup(drawn))
