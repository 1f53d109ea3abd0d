"""Measurements as tables: what a terminal, a page and a document show."""

import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.figures import LOAD, Measurement, Spread, cost, measurements, spread_of
from benchmarks.machine import Machine
from benchmarks.samples import Figure, Plan, Repeat

QUIET: Final = 0.5
"""Load average above which somebody else was at work too."""
WIDTH: Final = 140
"""In a pipe."""
ANSWERS: Final = ("requests/s", "p50 ms", "p99 ms", "p99.9 ms")
EVENTS: Final = ("events/s", "first p50 ms", "first p99 ms", "gap p50 ms", "gap p99 ms")
ALL_BUT: Final = f"all but the {LOAD}"

Cell = str | Spread


class Sheet(Struct, frozen=True, kw_only=True):
    """A table that does not know yet where it is shown."""

    title: str
    columns: list[str]
    rows: list[list[Cell]]
    words: int = 2
    """Columns from the left that are words; the others are numbers."""
    loud: bool = False


def show(measured: Iterable[Repeat | Figure], console: Console | None = None) -> None:
    chosen = console or Console(width=None if sys.stdout.isatty() else WIDTH)
    for table in tables(measured):
        chosen.print(table)


def tables(measured: Iterable[Repeat | Figure]) -> Iterator[Table]:
    return (as_rich(sheet) for sheet in sheets(measurements(measured)))


def sheets(found: Sequence[Measurement]) -> Iterator[Sheet]:
    """Those that have a row."""
    made = (wrong(found), answers(found), events(found), others(found), costs(found), stages(found), setting(found))
    return (sheet for sheet in made if sheet.rows)


def as_rich(sheet: Sheet) -> Table:
    table = Table(title=sheet.title, title_justify="left", title_style="bold red" if sheet.loud else "bold")
    for index, column in enumerate(sheet.columns):
        words = index < sheet.words
        table.add_column(Text(printable(column)), justify="left" if words else "right", overflow="fold")
    for row in sheet.rows:
        table.add_row(*(_rich_cell(cell, "red" if sheet.loud else "") for cell in row))
    return table


def _rich_cell(cell: Cell, style: str) -> Text:
    if isinstance(cell, str):
        return Text(printable(cell), style)
    return Text.assemble((number(cell.median), "bold"), (f" {least_to_most(cell)}", "dim"))


def answers(found: Sequence[Measurement]) -> Sheet:
    return _figures("Answers: median (least–most) of the repeats", found, ANSWERS)


def events(found: Sequence[Measurement]) -> Sheet:
    return _figures(
        "Events: until the first, and between two", [one for one in found if "events/s" in one.values], EVENTS
    )


def _figures(title: str, found: Sequence[Measurement], names: Sequence[str]) -> Sheet:
    """Only of repeats: what a figure on its own is called says nothing of its columns."""
    rows = [[one.name, one.target, *(cell(one, name) for name in names)] for one in found if one.repeats]
    return Sheet(title=title, columns=["measurement", "target", *names], rows=rows)


def others(found: Sequence[Measurement]) -> Sheet:
    names = [(one, name) for one in found for name in dict.fromkeys(figure.figure for figure in one.figures)]
    rows: list[list[Cell]] = [[one.name, one.target, name, cell(one, name)] for one, name in names]
    return Sheet(title="Other figures", columns=["measurement", "target", "figure", "value"], rows=rows, words=3)


def cell(one: Measurement, name: str) -> Cell:
    values = one.values.get(name)
    return spread_of(values) if values else ""


def wrong(found: Sequence[Measurement]) -> Sheet:
    """What was wrong, most frequent first: its latencies are in no figure."""
    rows: list[list[Cell]] = []
    for one in found:
        errors = Counter(s.error for repeat in one.repeats for s in repeat.samples if s.error is not None)
        asked = sum(len(repeat.samples) for repeat in one.repeats)
        for why, count in errors.most_common(5):
            rows.append([one.name, one.target, why, f"{count:,} of {asked:,}"])
    columns = ["measurement", "target", "what was wrong", "answers"]
    return Sheet(title="WRONG ANSWERS, left out of every latency", columns=columns, rows=rows, words=3, loud=True)


def costs(found: Sequence[Measurement]) -> Sheet:
    """Of CPU: unlike times on the clock, these bear a busy machine."""
    each = [(one, [cost(repeat) for repeat in one.repeats if repeat.cpu]) for one in found]
    met = dict.fromkeys(kind for _, used in each for repeat in used for kind in repeat)
    kinds = sorted(met, key=lambda kind: kind == LOAD)
    rows: list[list[Cell]] = []
    for one, used in each:
        if any(used):
            sums = [sum(value for kind, value in repeat.items() if kind != LOAD) for repeat in used]
            rows.append([one.name, one.target, *(_median(used, kind) for kind in kinds), spread_of(sums)])
    title = "CPU µs per request, by kind of process"
    return Sheet(title=title, columns=["measurement", "target", *kinds, ALL_BUT], rows=rows)


def stages(found: Sequence[Measurement]) -> Sheet:
    """Where the time of a prediction went."""
    each = [(one, [_milliseconds(repeat) for repeat in one.repeats if repeat.stages]) for one in found]
    names = list(dict.fromkeys(name for _, means in each for repeat in means for name in repeat))
    rows: list[list[Cell]] = [
        [one.name, one.target, *(_median(means, name) for name in names)] for one, means in each if means
    ]
    return Sheet(title="Mean ms in each stage", columns=["measurement", "target", *names], rows=rows)


def _milliseconds(repeat: Repeat) -> dict[str, float]:
    return {name: seconds * 1000 for name, seconds in repeat.stages.items()}


def _median(repeats: Sequence[dict[str, float]], name: str) -> str:
    values = [repeat[name] for repeat in repeats if name in repeat]
    return number(spread_of(values).median) if values else ""


def setting(found: Sequence[Measurement]) -> Sheet:
    all_of_them = [measured for one in found for measured in [*one.repeats, *one.figures]]
    machines = [measured.machine for measured in sorted(all_of_them, key=lambda measured: measured.at)]
    return _setting(machines, [when(found)] if machines else [])


def setting_of(machine: Machine) -> Table:
    """For who measures something else than repeats and figures."""
    return as_rich(_setting([machine], []))


def _setting(machines: Sequence[Machine], moments: Sequence[str]) -> Sheet:
    facts: dict[str, Iterable[str]] = {
        "machine": [machine_in_words(machine) for machine in machines],
        "load average": [busy(machines)] if machines else [],
        "Python": [machine.python for machine in machines],
        "libraries": [", ".join(f"{name} {version}" for name, version in one.libraries.items()) for one in machines],
        "commit": [machine.commit for machine in machines],
        "when": moments,
    }
    rows: list[list[Cell]] = [[name, "\n".join(dict.fromkeys(values))] for name, values in facts.items() if values]
    return Sheet(title="Setting", columns=["setting", "value"], rows=rows)


def machine_in_words(machine: Machine) -> str:
    return ", ".join(
        [machine.cpu, f"{machine.cores} cores", f"{machine.memory_gib} GiB", *machine.gpus, machine.system]
    )


def busy(machines: Sequence[Machine]) -> str:
    """The first was taken before any load of ours."""
    first, most = machines[0].busy, max(machine.busy for machine in machines)
    warning = "  NOT QUIET: judge no times by this" if first > QUIET else ""
    later = f"; up to {most:.2f} later, our own load included" if most > first else ""
    return f"{first:.2f} before the first repeat{later}{warning}"


def when(found: Sequence[Measurement]) -> str:
    moments = sorted(repeat.at[:19].replace("T", " ") for one in found for repeat in [*one.repeats, *one.figures])
    return moments[0] if moments[0] == moments[-1] else f"{moments[0]} to {moments[-1]}"


def plans(found: Sequence[Measurement]) -> Sheet:
    rows: list[list[Cell]] = [
        [one.name, one.target, how(one.repeats[0].plan, len(one.repeats))] for one in found if one.repeats
    ]
    return Sheet(title="How it was run", columns=["measurement", "target", "plan"], rows=rows, words=3)


def how(plan: Plan, repeats: int) -> str:
    """What a load generator was told, in words, without a password that its URL may have."""
    url = urlsplit(plan.url)
    paths = list(dict.fromkeys(request.path for request in plan.requests))
    where = url._replace(netloc=url.netloc.rpartition("@")[2]).geturl().rstrip("/") + (paths[0] if paths else "")
    others = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    times = f"{repeats} × {plan.seconds:g} s after {plan.warm_up:g} s of warm-up"
    return f"{_load(plan)}, {plan.protocol}, {times}: {where}{others}"


def _load(plan: Plan) -> str:
    if plan.arrivals == "closed":
        return f"closed loop, {plan.clients} client{'s' if plan.clients > 1 else ''}"
    return f"open loop, {plan.rate:g}/s {plan.arrivals}, {plan.clients} connections at most"


def number(value: float) -> str:
    """Three digits that count, and every one before the point."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.2g}"


def least_to_most(spread: Spread) -> str:
    return f"({number(spread.least)}–{number(spread.most)})"


def printable(text: str) -> str:
    """Without what a terminal would obey: an error is somebody else's words."""
    return re.sub(r"[^\n]", lambda found: found[0] if found[0].isprintable() else ascii(found[0])[1:-1], text)
