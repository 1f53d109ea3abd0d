"""RESULTS.md, made of raw data: what was to be shown and whether it was, rivals side by side, costs, the setting."""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from benchmarks.aims import AIMS, Aim, Bound, Outcome, met, outcomes
from benchmarks.figures import Measurement, Spread, measurements
from benchmarks.report.percentiles import group
from benchmarks.samples import read
from benchmarks.tables import (
    Cell,
    Sheet,
    answers,
    costs,
    events,
    least_to_most,
    number,
    others,
    plans,
    printable,
    setting,
    stages,
    wrong,
)

NOTES: Final = Path(__file__).parent.parent / "notes.md"
WORDS: Final = {True: "yes", False: "**no**", None: "not measured"}
COMMANDS: Final = {
    "suite": "samovar bench suite",
    "rivals": "samovar bench rivals run",
    "run": "samovar bench run",
    "gpu": "samovar bench gpu",
}


class Source(Struct, frozen=True, kw_only=True):
    """A raw file, and what is taken from it."""

    path: Path
    found: list[Measurement]


def write_results(files: Sequence[Path], path: Path, notes: Path = NOTES) -> None:
    """The same files, the same bytes. What is in several of them is taken from the last that has it, whole."""
    sources = [Source(path=file, found=measurements(read(file))) for file in files]
    path.write_text("\n".join(_document(_latest(sources), path.parent, notes_by_row(notes))) + "\n", encoding="utf-8")


def notes_by_row(notes: Path) -> dict[str, str]:
    """The text under each `## row`; nothing where there is no such file."""
    if not notes.exists():
        return {}
    parts = re.split(r"^## +(.+?)\s*$", notes.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {row: text.strip() for row, text in zip(parts[1::2], parts[2::2], strict=True)}


def _latest(sources: Sequence[Source]) -> list[Source]:
    last = {(one.name, one.target): index for index, source in enumerate(sources) for one in source.found}
    kept = [
        Source(path=source.path, found=[one for one in source.found if last[one.name, one.target] == index])
        for index, source in enumerate(sources)
    ]
    return [source for source in kept if source.found]


def _document(sources: Sequence[Source], folder: Path, notes: dict[str, str]) -> Iterator[str]:
    found = [one for source in sources for one in source.found]
    yield "# Results\n"
    yield "Made by the harness from the raw data that is named below; do not edit it. Each value is the median of the"
    yield "repeats, with the least and the most of them.\n"
    yield from _markdown(wrong(found))
    yield from _aims(sources, folder, notes)
    yield from _side_by_side(found)
    for sheet in (others(found), costs(found), stages(found)):
        yield from _markdown(sheet)
    for source in sources:
        yield from _origin(source, folder)


def _aims(sources: Sequence[Source], folder: Path, notes: dict[str, str]) -> Iterator[str]:
    """Nothing where none of them was measured, as on a GPU."""
    found = [one for source in sources for one in source.found]
    fared = [(aim, outcomes(aim, found)) for aim in AIMS]
    if all(one.met is None for _, of_bounds in fared for one in of_bounds):
        return
    reached = sum(met(of_bounds) is True for _, of_bounds in fared)
    yield f"## It must show\n\n{reached} of {len(fared)} rows are met.\n"
    yield "| what | figure | measured | to reach | met | raw data |"
    yield "|---|---|---|---|---|---|"
    links = {(one.name, one.target): _link(source.path, folder) for source in sources for one in source.found}
    for aim, of_bounds in fared:
        yield from _rows(aim, of_bounds, links)
    yield ""
    for aim, of_bounds in fared:
        if met(of_bounds) is False and aim.what in notes:
            yield f"### What bounds “{aim.what}”\n\n{notes[aim.what]}\n"


def _rows(aim: Aim, of_bounds: Sequence[Outcome], links: dict[tuple[str, str], str]) -> Iterator[str]:
    for index, one in enumerate(of_bounds):
        what = _escaped(aim.what) if index == 0 else ""
        value = _cell(one.value) if one.value else ""
        verdict = WORDS[one.met] + (f", {one.wrong:,} wrong answers" if one.wrong else "")
        raw = _raw(one.bound, links) if one.value else ""
        yield f"| {what} | {_escaped(one.bound.figure)} | {value} | {_escaped(one.aim)} | {verdict} | {raw} |"


def _raw(bound: Bound, links: dict[tuple[str, str], str]) -> str:
    """The files of both sides: they are of one run where this is one."""
    others = [(bound.of.measurement, target) for target in bound.of.targets] if bound.of else []
    used = [links[key] for key in [(bound.measurement, bound.target), *others] if key in links]
    return ", ".join(dict.fromkeys(used))


def _side_by_side(found: Sequence[Measurement]) -> Iterator[str]:
    """By predictor: what is measured of several targets, and then of one."""
    yield "## Side by side\n"
    asked = [one for one in found if one.repeats]
    for predictor in dict.fromkeys(group(one.name) for one in asked):
        several = [one for one in asked if group(one.name) == predictor]
        yield f"### {_escaped(predictor)}\n"
        for sheet in (answers(several), events(several)):
            yield from _table(sheet)


def _origin(source: Source, folder: Path) -> Iterator[str]:
    yield f"## Setting of {_link(source.path, folder)}\n"
    if made := command(source.path):
        yield f"Made by `{made}`.\n"
    yield from _table(setting(source.found))
    yield from _table(plans(source.found))


def command(file: Path) -> str | None:
    """That made a raw file, told by its name: `suite-20251126T150000Z.jsonl.gz` is of `samovar bench suite`."""
    word = re.match(r"[a-z]*", file.name)
    return COMMANDS.get(word[0]) if word else None


def _link(file: Path, folder: Path) -> str:
    """Only to what lies below: another place is this machine's own."""
    relative = Path(os.path.relpath(file, folder))
    name = _escaped(file.name)
    return f"`{name}`" if ".." in relative.parts else f"[{name}]({relative.as_posix().replace(' ', '%20')})"


def _markdown(sheet: Sheet) -> Iterator[str]:
    if sheet.rows:
        yield f"## {sheet.title}\n"
        yield from _table(sheet)


def _table(sheet: Sheet) -> Iterator[str]:
    if sheet.rows:
        yield _line(sheet.columns)
        yield "|" + "---|" * min(sheet.words, len(sheet.columns)) + "---:|" * max(len(sheet.columns) - sheet.words, 0)
        yield from (_line(row) for row in sheet.rows)
        yield ""


def _line(cells: Iterable[Cell]) -> str:
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def _cell(cell: Cell) -> str:
    return f"{number(cell.median)} {least_to_most(cell)}" if isinstance(cell, Spread) else _escaped(cell)


def _escaped(text: str) -> str:
    """As text and in one line: neither markup nor HTML."""
    return re.sub(r"([\\`*_|<>\[\]&])", r"\\\1", printable(text)).replace("\n", "; ")
