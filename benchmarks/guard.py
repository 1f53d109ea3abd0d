"""The regression guard: compares how many interpreter instructions each operation takes with a stored budget.

An instruction count is the same on a busy machine and on a quiet one, so a test may fail by it. It does not see what C
code does in one call: that is shown as a ratio to a fixed yardstick in the same process, and judged only where ten
times the work takes more than ten times as long.
"""

import asyncio
import gc
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Final

from msgspec import Struct, json
from rich.console import Console
from rich.table import Table

from benchmarks.guarded_operations import GROWING, OPERATIONS, Once

BUDGET_FILE: Final = Path(__file__).with_name("guard.json")
SLACK: Final = 0.10
MAX_GROWTH: Final = 13.0
"""How many times longer ten times the outputs may take; with a copy for each output it would be near a hundred."""
PYTHON: Final = f"{sys.version_info.major}.{sys.version_info.minor}"


class Count(Struct, frozen=True):
    """The cost of one run of an operation."""

    instructions: int
    calls: int
    """Calls of functions written in C."""


Counts = dict[str, Count]


def count_operations() -> Counts:
    """Count all operations in this interpreter."""

    async def counted() -> Counts:
        return {operation.name: count(operation.prepare()) for operation in OPERATIONS}

    return asyncio.run(counted())


def count(once: Once) -> Count:
    """Count one run, after everything that happens only the first time has happened."""
    for _ in range(3):
        once()
    tracing, profiling, collecting = sys.gettrace(), sys.getprofile(), gc.isenabled()
    gc.disable()  # finalizers are not part of the operation
    tally = _Tally()
    sys.settrace(tally.trace)
    sys.setprofile(tally.profile)
    try:
        once()
    finally:
        sys.setprofile(profiling)
        sys.settrace(tracing)
        if collecting:
            gc.enable()
    return Count(tally.instructions, tally.calls)


def read_budget() -> Counts | None:
    """Return the budget for this version of Python, or None if there is none.

    Each version has instructions of its own.
    """
    return _read_budgets().get(PYTHON)


def write_budget(counts: Counts) -> None:
    """Store counts as the budget for this version of Python."""
    budgets = dict(sorted((_read_budgets() | {PYTHON: counts}).items()))
    BUDGET_FILE.write_bytes(json.format(json.encode(budgets), indent=2) + b"\n")


def compare_with_budget(counts: Counts, budget: Counts) -> Iterator[str]:
    """Yield a sentence for each difference from the budget."""
    for name in budget.keys() - counts.keys():
        yield f"{name}: is not counted any more."
    for name, now in counts.items():
        if (then := budget.get(name)) is None:
            yield f"{name}: nothing is kept of it."
            continue
        for what in Count.__struct_fields__:
            yield from _describe_change(f"{name}: {what}", getattr(now, what), getattr(then, what))


def measure_growth(make: Callable[[int], Once], *, size: int = 1_000, attempts: int = 5) -> float:
    """Return how many times longer ten times as many outputs take; the least of some attempts."""
    small, large = make(size), make(10 * size)
    return min(_best_time(large, 3) / _best_time(small, 10) for _ in range(attempts))


def cpu_shares(repeats: int = 200) -> dict[str, float]:
    """Return the CPU time of each operation as a multiple of a yardstick's, measured in turns with it."""

    async def measured() -> dict[str, float]:
        return {operation.name: _share(operation.prepare(), repeats) for operation in OPERATIONS}

    return asyncio.run(measured())


def guard(*, update: bool = False) -> None:
    """Print the counts, and end the process with status 1 if they differ from the budget."""
    counts = count_operations()
    budget = counts if update else read_budget()
    if update:
        write_budget(counts)
    console = Console()
    console.print(_table(counts, budget or {}, cpu_shares()))
    if budget is None:
        sys.exit(f"nothing is kept for Python {PYTHON}: `samovar bench guard --update` does it")
    wrong = list(compare_with_budget(counts, budget))
    wrong += [f"{name}: {ratio:.1f} × for 10 × the outputs" for name, ratio in _measure_growths() if ratio > MAX_GROWTH]
    if wrong:
        sys.exit("\n".join(wrong))


class _Tally:
    def __init__(self) -> None:
        self.instructions = 0
        self.calls = 0

    def trace(self, frame: FrameType, event: str, _: Any) -> Any:
        if event == "opcode":
            self.instructions += 1
        elif event == "call":
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self.trace

    def profile(self, _: FrameType, event: str, called: Any) -> None:
        if event == "c_call" and called is not sys.setprofile:
            self.calls += 1


def _read_budgets() -> dict[str, Counts]:
    return json.decode(BUDGET_FILE.read_bytes(), type=dict[str, Counts]) if BUDGET_FILE.exists() else {}


def _describe_change(what: str, now: int, then: int) -> Iterator[str]:
    if now > then * (1 + SLACK) + 1:
        yield f"{what} went up from {then} to {now}: if it has to, `samovar bench guard --update`, and say why."
    elif now < then * (1 - SLACK) - 1:
        yield f"{what} went down from {then} to {now}: `samovar bench guard --update`, so that it stays there."


def _share(once: Once, repeats: int) -> float:
    for _ in range(3):
        once()
    own, yard = zip(*((_cpu_time(once), _cpu_time(_yardstick)) for _ in range(repeats)), strict=True)
    return min(own) / min(yard)


def _yardstick() -> int:
    """Do about a tenth of a millisecond of what our code consists of: attributes, calls, dicts, JSON."""
    total = 0
    for number in range(100):
        document = {"name": f"name-{number}", "values": [number] * 4}
        total += len(json.encode(document)) + number
    return total


def _cpu_time(once: Once) -> int:
    began = time.thread_time_ns()
    once()
    return time.thread_time_ns() - began


def _best_time(once: Once, repeats: int) -> float:
    collecting = gc.isenabled()
    gc.disable()
    try:
        return min(_cpu_time(once) for _ in range(repeats))
    finally:
        if collecting:
            gc.enable()


def _measure_growths() -> Iterator[tuple[str, float]]:
    for name, make in GROWING.items():
        yield name, measure_growth(make)


def _table(counts: Counts, budget: Counts, shares: dict[str, float]) -> Table:
    table = Table("operation", "instructions", "kept", "calls into C", "kept", "CPU, × yardstick")
    for name, now in counts.items():
        then = budget.get(name)
        columns = (now.instructions, then and then.instructions, now.calls, then and then.calls)
        table.add_row(name, *("" if each is None else str(each) for each in columns), f"{shares[name]:.2f}")
    return table
