"""Measurements as tables: medians of the repeats, with the least and the most of them."""

import statistics
from collections.abc import Iterator
from typing import Final

from msgspec import Struct
from rich.table import Table

from benchmarks.load import Sync, Ticks
from benchmarks.machine import Machine

QUIET: Final = 0.5
AIMS: Final = {
    ("sync clients 1", "p50 ms"): "≤ 1.8",
    ("sync clients 32", "requests/s"): "≥ 3000",
    ("ticks streams 1", "p50 ms"): "≤ 3",
}


class Line(Struct, frozen=True, kw_only=True):
    """One repeat of one measurement, as it is kept."""

    at: str
    what: str
    machine: Machine
    processes: int | None
    rows: int | None
    """That got their final state during it."""
    cpu: dict[str, float]
    """Seconds that each kind of process used during it."""
    measured: Sync | Ticks


def tables(machine: Machine, lines: list[Line]) -> Iterator[Table]:
    yield _numbers(lines)
    yield _costs(lines)
    yield _setting(machine)


def figures(measured: Sync | Ticks) -> dict[str, float]:
    match measured:
        case Sync(latencies=latencies):
            rate = {"requests/s": len(latencies) / measured.seconds}
            return _quantiles(latencies) | rate
        case Ticks(delays=delays):
            return _quantiles(delays)


def _quantiles(microseconds: list[int]) -> dict[str, float]:
    ordered = sorted(microseconds)
    at = {"p50 ms": 0.5, "p99 ms": 0.99}
    return {name: ordered[min(int(len(ordered) * q), len(ordered) - 1)] / 1000 for name, q in at.items()}


def _numbers(lines: list[Line]) -> Table:
    table = Table("measurement", "figure", "median", "least", "most", "aim", "processes", "rows written")
    for what in dict.fromkeys(line.what for line in lines):
        repeats = [line for line in lines if line.what == what]
        written = [line.rows for line in repeats if line.rows is not None]
        for name in figures(repeats[0].measured):
            values = [figures(line.measured)[name] for line in repeats]
            spread = [f"{value:.2f}" for value in (statistics.median(values), min(values), max(values))]
            rows = str(sum(written)) if written else "?"
            table.add_row(what, name, *spread, AIMS.get((what, name), ""), str(repeats[0].processes or "?"), rows)
    return table


def _costs(lines: list[Line]) -> Table:
    """Of CPU: unlike times on the clock, these bear a busy machine."""
    kinds = list(dict.fromkeys(kind for line in lines for kind in line.cpu))
    table = Table("CPU µs per request", *kinds, "load generator", "all but the load generator")
    for what in dict.fromkeys(line.what for line in lines):
        repeats = [line for line in lines if line.what == what and line.cpu and isinstance(line.measured, Sync)]
        if repeats:
            costs = [_median_cost(repeats, kind) for kind in kinds]
            load = statistics.median(_load_cost(line.measured) for line in repeats)
            table.add_row(what, *(f"{cost:.0f}" for cost in costs), f"{load:.0f}", f"{sum(costs):.0f}")
    return table


def _median_cost(lines: list[Line], kind: str) -> float:
    return statistics.median(line.cpu[kind] / _requests(line.measured) * 1e6 for line in lines)


def _load_cost(measured: Sync | Ticks) -> float:
    return measured.cpu / _requests(measured) * 1e6 if isinstance(measured, Sync) else 0.0


def _requests(measured: Sync | Ticks) -> int:
    return len(measured.latencies) if isinstance(measured, Sync) else measured.streams


def _setting(machine: Machine) -> Table:
    table = Table("setting", "value")
    table.add_row("machine", f"{machine.cpu}, {machine.cores} cores, {machine.memory_gib} GiB, {machine.system}")
    table.add_row(
        "load average before", f"{machine.busy}{'  (not quiet: judge no times by this)' if machine.busy > 0.5 else ''}"
    )
    table.add_row("Python", machine.python)
    table.add_row("libraries", ", ".join(f"{name} {version}" for name, version in machine.libraries.items()))
    table.add_row("commit", machine.commit)
    return table
