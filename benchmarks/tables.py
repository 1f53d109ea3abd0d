"""Tables of measurements, for a terminal, a page and a document."""

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

from benchmarks.figures import LOAD_GENERATOR, Measurement, Spread, cpu_per_request, group_measurements, spread_of
from benchmarks.machine import Machine
from benchmarks.samples import Figure, Plan, Repeat

QUIET_LOAD_AVERAGE: Final = 0.5
"""The load average above which a machine is busy with other work."""
PIPE_WIDTH: Final = 140
"""Columns in a pipe."""
ANSWER_FIGURES: Final = ("requests/s", "p50 ms", "p99 ms", "p99.9 ms")
EVENT_FIGURES: Final = ("events/s", "first p50 ms", "first p99 ms", "gap p50 ms", "gap p99 ms")
ALL_BUT_LOAD: Final = f"all but the {LOAD_GENERATOR}"

CellValue = str | Spread


class TableData(Struct, frozen=True, kw_only=True):
    """The content of a table, apart from how it is shown."""

    title: str
    columns: list[str]
    rows: list[list[CellValue]]
    word_columns: int = 2
    """How many columns from the left are words; the others are numbers."""
    is_warning: bool = False


def print_tables(measured: Iterable[Repeat | Figure], console: Console | None = None) -> None:
    """Print all tables of the results."""
    output = console or Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
    for table in create_tables(measured):
        output.print(table)


def create_tables(measured: Iterable[Repeat | Figure]) -> Iterator[Table]:
    """Yield all tables of the results, for a terminal."""
    return (render_table(sheet) for sheet in table_data(group_measurements(measured)))


def table_data(measurements: Sequence[Measurement]) -> Iterator[TableData]:
    """Yield the tables that have rows."""
    candidates = (
        error_table(measurements),
        answer_table(measurements),
        event_table(measurements),
        figure_table(measurements),
        cost_table(measurements),
        stage_table(measurements),
        setting_table(measurements),
    )
    return (sheet for sheet in candidates if sheet.rows)


def render_table(sheet: TableData) -> Table:
    """Return a table for a terminal."""
    table = Table(title=sheet.title, title_justify="left", title_style="bold red" if sheet.is_warning else "bold")
    for index, column in enumerate(sheet.columns):
        words = index < sheet.word_columns
        table.add_column(Text(printable(column)), justify="left" if words else "right", overflow="fold")
    for row in sheet.rows:
        table.add_row(*(_rich_cell(cell, "red" if sheet.is_warning else "") for cell in row))
    return table


def _rich_cell(cell: CellValue, style: str) -> Text:
    if isinstance(cell, str):
        return Text(printable(cell), style)
    return Text.assemble((format_number(cell.median), "bold"), (f" {format_range(cell)}", "dim"))


def answer_table(measurements: Sequence[Measurement]) -> TableData:
    """Return the table of latencies and rates."""
    return _figures("Answers: median (least–most) of the repeats", measurements, ANSWER_FIGURES)


def event_table(measurements: Sequence[Measurement]) -> TableData:
    """Return the table of output events."""
    return _figures(
        "Events: until the first, and between two",
        [measurement for measurement in measurements if "events/s" in measurement.values],
        EVENT_FIGURES,
    )


def _figures(title: str, measurements: Sequence[Measurement], names: Sequence[str]) -> TableData:
    """Return a table of figures of repeats; a figure on its own has no such columns."""
    rows = [
        [measurement.name, measurement.target, *(cell_value(measurement, name) for name in names)]
        for measurement in measurements
        if measurement.repeats
    ]
    return TableData(title=title, columns=["measurement", "target", *names], rows=rows)


def figure_table(measurements: Sequence[Measurement]) -> TableData:
    """Return the table of figures that are not made of requests."""
    names = [
        (measurement, name)
        for measurement in measurements
        for name in dict.fromkeys(figure.figure for figure in measurement.figures)
    ]
    rows: list[list[CellValue]] = [
        [measurement.name, measurement.target, name, cell_value(measurement, name)] for measurement, name in names
    ]
    return TableData(
        title="Other figures", columns=["measurement", "target", "figure", "value"], rows=rows, word_columns=3
    )


def cell_value(measurement: Measurement, name: str) -> CellValue:
    """Return the spread of a figure, or nothing."""
    values = measurement.values.get(name)
    return spread_of(values) if values else ""


def error_table(measurements: Sequence[Measurement]) -> TableData:
    """Return the table of wrong answers, most frequent first; their latencies are in no figure."""
    rows: list[list[CellValue]] = []
    for measurement in measurements:
        errors = Counter(s.error for repeat in measurement.repeats for s in repeat.samples if s.error is not None)
        answers = sum(len(repeat.samples) for repeat in measurement.repeats)
        for reason, count in errors.most_common(5):
            rows.append([measurement.name, measurement.target, reason, f"{count:,} of {answers:,}"])
    columns = ["measurement", "target", "what was wrong", "answers"]
    return TableData(
        title="WRONG ANSWERS, left out of every latency", columns=columns, rows=rows, word_columns=3, is_warning=True
    )


def cost_table(measurements: Sequence[Measurement]) -> TableData:
    """Return the table of CPU per request; unlike times on the clock, it bears a busy machine."""
    each = [
        (measurement, [cpu_per_request(repeat) for repeat in measurement.repeats if repeat.cpu])
        for measurement in measurements
    ]
    kinds_seen = dict.fromkeys(kind for _, costs in each for repeat in costs for kind in repeat)
    kinds = sorted(kinds_seen, key=lambda kind: kind == LOAD_GENERATOR)
    rows: list[list[CellValue]] = []
    for measurement, costs in each:
        if any(costs):
            sums = [sum(value for kind, value in repeat.items() if kind != LOAD_GENERATOR) for repeat in costs]
            rows.append(
                [measurement.name, measurement.target, *(_median(costs, kind) for kind in kinds), spread_of(sums)]
            )
    title = "CPU µs per request, by kind of process"
    return TableData(title=title, columns=["measurement", "target", *kinds, ALL_BUT_LOAD], rows=rows)


def stage_table(measurements: Sequence[Measurement]) -> TableData:
    """Return the table of the time in each stage of a prediction."""
    each = [
        (measurement, [_milliseconds(repeat) for repeat in measurement.repeats if repeat.stages])
        for measurement in measurements
    ]
    names = list(dict.fromkeys(name for _, means in each for repeat in means for name in repeat))
    rows: list[list[CellValue]] = [
        [measurement.name, measurement.target, *(_median(means, name) for name in names)]
        for measurement, means in each
        if means
    ]
    return TableData(title="Mean ms in each stage", columns=["measurement", "target", *names], rows=rows)


def _milliseconds(repeat: Repeat) -> dict[str, float]:
    return {name: seconds * 1000 for name, seconds in repeat.stages.items()}


def _median(repeats: Sequence[dict[str, float]], name: str) -> str:
    values = [repeat[name] for repeat in repeats if name in repeat]
    return format_number(spread_of(values).median) if values else ""


def setting_table(measurements: Sequence[Measurement]) -> TableData:
    """Return the table of machines and versions."""
    all_of_them = [
        measured for measurement in measurements for measured in [*measurement.repeats, *measurement.figures]
    ]
    machines = [measured.machine for measured in sorted(all_of_them, key=lambda measured: measured.at)]
    return _setting(machines, [time_span(measurements)] if machines else [])


def machine_table(machine: Machine) -> Table:
    """Return the table of one machine, for results that are not repeats or figures."""
    return render_table(_setting([machine], []))


def _setting(machines: Sequence[Machine], moments: Sequence[str]) -> TableData:
    facts: dict[str, Iterable[str]] = {
        "machine": [describe_machine(machine) for machine in machines],
        "load average": [describe_load_average(machines)] if machines else [],
        "Python": [machine.python for machine in machines],
        "libraries": [
            ", ".join(f"{name} {version}" for name, version in measurement.libraries.items())
            for measurement in machines
        ],
        "commit": [machine.commit for machine in machines],
        "when": moments,
    }
    rows: list[list[CellValue]] = [[name, "\n".join(dict.fromkeys(values))] for name, values in facts.items() if values]
    return TableData(title="Setting", columns=["setting", "value"], rows=rows)


def describe_machine(machine: Machine) -> str:
    """Describe a machine in words."""
    return ", ".join(
        [machine.cpu, f"{machine.cores} cores", f"{machine.memory_gib} GiB", *machine.gpus, machine.system]
    )


def describe_load_average(machines: Sequence[Machine]) -> str:
    """Describe the load averages; the first was taken before any load of ours."""
    first, most = machines[0].busy, max(machine.busy for machine in machines)
    warning = "  NOT QUIET: judge no times by this" if first > QUIET_LOAD_AVERAGE else ""
    later = f"; up to {most:.2f} later, our own load included" if most > first else ""
    return f"{first:.2f} before the first repeat{later}{warning}"


def time_span(measurements: Sequence[Measurement]) -> str:
    """Return when the measurements began, from the first to the last."""
    moments = sorted(
        repeat.at[:19].replace("T", " ")
        for measurement in measurements
        for repeat in [*measurement.repeats, *measurement.figures]
    )
    return moments[0] if moments[0] == moments[-1] else f"{moments[0]} to {moments[-1]}"


def plan_table(measurements: Sequence[Measurement]) -> TableData:
    """Return the table of plans."""
    rows: list[list[CellValue]] = [
        [measurement.name, measurement.target, describe_plan(measurement.repeats[0].plan, len(measurement.repeats))]
        for measurement in measurements
        if measurement.repeats
    ]
    return TableData(title="How it was run", columns=["measurement", "target", "plan"], rows=rows, word_columns=3)


def describe_plan(plan: Plan, repeats: int) -> str:
    """Describe a plan in words, without a password that its URL may have."""
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


def format_number(value: float) -> str:
    """Format a number with three significant digits, and all those before the point."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.2g}"


def format_range(spread: Spread) -> str:
    """Format the least and the most of a spread."""
    return f"({format_number(spread.least)}–{format_number(spread.most)})"


def printable(text: str) -> str:
    """Return the text without control characters, which a terminal would obey; errors are texts of others."""
    return re.sub(
        r"[^\n]",
        lambda measurements: measurements[0] if measurements[0].isprintable() else ascii(measurements[0])[1:-1],
        text,
    )
