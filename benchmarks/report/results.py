"""RESULTS.md, written from raw data: aims, rivals side by side, costs and the setting."""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from benchmarks.aims import AIMS, Aim, Bound, Outcome, aim_outcomes, is_aim_met
from benchmarks.figures import Measurement, Spread, group_measurements
from benchmarks.report.percentiles import group_name
from benchmarks.samples import read_measurements
from benchmarks.tables import (
    CellValue,
    TableData,
    answer_table,
    cost_table,
    error_table,
    event_table,
    figure_table,
    format_number,
    format_range,
    plan_table,
    printable,
    setting_table,
    stage_table,
)

NOTES: Final = Path(__file__).parent.parent / "notes.md"
VERDICTS: Final = {True: "yes", False: "**no**", None: "not measured"}
COMMANDS: Final = {
    "suite": "samovar bench suite",
    "rivals": "samovar bench rivals run",
    "run": "samovar bench run",
    "gpu": "samovar bench gpu",
}


class Source(Struct, frozen=True, kw_only=True):
    """A raw file, and the measurements that are taken from it."""

    path: Path
    found: list[Measurement]


def write_results(files: Sequence[Path], path: Path, notes: Path = NOTES) -> None:
    """Write the results of several files; the same files give the same bytes.

    What is in several files is taken whole from the last one that has it.
    """
    sources = [Source(path=file, found=group_measurements(read_measurements(file))) for file in files]
    path.write_text("\n".join(_document(_latest(sources), path.parent, notes_by_row(notes))) + "\n", encoding="utf-8")


def notes_by_row(notes: Path) -> dict[str, str]:
    """Return the text under each `## row`; nothing without such a file."""
    if not notes.exists():
        return {}
    parts = re.split(r"^## +(.+?)\s*$", notes.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {row: text.strip() for row, text in zip(parts[1::2], parts[2::2], strict=True)}


def _latest(sources: Sequence[Source]) -> list[Source]:
    last = {
        (measurement.name, measurement.target): index
        for index, source in enumerate(sources)
        for measurement in source.found
    }
    latest = [
        Source(
            path=source.path,
            found=[measurement for measurement in source.found if last[measurement.name, measurement.target] == index],
        )
        for index, source in enumerate(sources)
    ]
    return [source for source in latest if source.found]


def _document(sources: Sequence[Source], folder: Path, notes: dict[str, str]) -> Iterator[str]:
    measurements = [measurement for source in sources for measurement in source.found]
    yield "# Results\n"
    yield "Made by the harness from the raw data that is named below; do not edit it. Each value is the median of the"
    yield "repeats, with the least and the most of them.\n"
    yield from _markdown(error_table(measurements))
    yield from _aims(sources, folder, notes)
    yield from _side_by_side(measurements)
    for sheet in (figure_table(measurements), cost_table(measurements), stage_table(measurements)):
        yield from _markdown(sheet)
    for source in sources:
        yield from _setting(source, folder)


def _aims(sources: Sequence[Source], folder: Path, notes: dict[str, str]) -> Iterator[str]:
    """Yield the table of aims; nothing if none of them was measured, as on a GPU."""
    measurements = [measurement for source in sources for measurement in source.found]
    outcomes = [(aim, aim_outcomes(aim, measurements)) for aim in AIMS]
    if all(measurement.is_met is None for _, of_bounds in outcomes for measurement in of_bounds):
        return
    met_count = sum(is_aim_met(of_bounds) is True for _, of_bounds in outcomes)
    yield f"## It must show\n\n{met_count} of {len(outcomes)} rows are met.\n"
    yield "| what | figure | measured | to reach | met | raw data |"
    yield "|---|---|---|---|---|---|"
    links = {
        (measurement.name, measurement.target): _link(source.path, folder)
        for source in sources
        for measurement in source.found
    }
    for aim, of_bounds in outcomes:
        yield from _rows(aim, of_bounds, links)
    yield ""
    for aim, of_bounds in outcomes:
        if is_aim_met(of_bounds) is False and aim.what in notes:
            yield f"### What bounds “{aim.what}”\n\n{notes[aim.what]}\n"


def _rows(aim: Aim, of_bounds: Sequence[Outcome], links: dict[tuple[str, str], str]) -> Iterator[str]:
    for index, outcome in enumerate(of_bounds):
        what = _escaped(aim.what) if index == 0 else ""
        value = _cell(outcome.value) if outcome.value else ""
        verdict = VERDICTS[outcome.is_met] + (f", {outcome.wrong:,} wrong answers" if outcome.wrong else "")
        raw = _raw_data_links(outcome.bound, links) if outcome.value else ""
        yield f"| {what} | {_escaped(outcome.bound.figure)} | {value} | {_escaped(outcome.aim)} | {verdict} | {raw} |"


def _raw_data_links(bound: Bound, links: dict[tuple[str, str], str]) -> str:
    """Return links to the files of both sides of a bound."""
    others = [(bound.of.measurement, target) for target in bound.of.targets] if bound.of else []
    used = [links[key] for key in [(bound.measurement, bound.target), *others] if key in links]
    return ", ".join(dict.fromkeys(used))


def _side_by_side(measurements: Sequence[Measurement]) -> Iterator[str]:
    """Yield tables by predictor, with all targets in each."""
    yield "## Side by side\n"
    measured = [measurement for measurement in measurements if measurement.repeats]
    for predictor in dict.fromkeys(group_name(measurement.name) for measurement in measured):
        several = [measurement for measurement in measured if group_name(measurement.name) == predictor]
        yield f"### {_escaped(predictor)}\n"
        for sheet in (answer_table(several), event_table(several)):
            yield from _table(sheet)


def _setting(source: Source, folder: Path) -> Iterator[str]:
    yield f"## Setting of {_link(source.path, folder)}\n"
    if command := source_command(source.path):
        yield f"Made by `{command}`.\n"
    yield from _table(setting_table(source.found))
    yield from _table(plan_table(source.found))


def source_command(file: Path) -> str | None:
    """Return the command that wrote a raw file, by its name.

    `suite-20251126T150000Z.jsonl.gz` is of `samovar bench suite`.
    """
    word = re.match(r"[a-z]*", file.name)
    return COMMANDS.get(word[0]) if word else None


def _link(file: Path, folder: Path) -> str:
    """Return a link to a file below the folder; a path elsewhere belongs to this machine alone."""
    relative = Path(os.path.relpath(file, folder))
    name = _escaped(file.name)
    return f"`{name}`" if ".." in relative.parts else f"[{name}]({relative.as_posix().replace(' ', '%20')})"


def _markdown(sheet: TableData) -> Iterator[str]:
    if sheet.rows:
        yield f"## {sheet.title}\n"
        yield from _table(sheet)


def _table(sheet: TableData) -> Iterator[str]:
    if sheet.rows:
        yield _line(sheet.columns)
        yield (
            "|"
            + "---|" * min(sheet.word_columns, len(sheet.columns))
            + "---:|" * max(len(sheet.columns) - sheet.word_columns, 0)
        )
        yield from (_line(row) for row in sheet.rows)
        yield ""


def _line(cells: Iterable[CellValue]) -> str:
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def _cell(cell: CellValue) -> str:
    return f"{format_number(cell.median)} {format_range(cell)}" if isinstance(cell, Spread) else _escaped(cell)


def _escaped(text: str) -> str:
    """Return the text in one line, without markup or HTML."""
    return re.sub(r"([\\`*_|<>\[\]&])", r"\\\1", printable(text)).replace("\n", "; ")
