"""The regression guard: how many instructions of the interpreter each operation takes, against what is kept.

An instruction count is the same on a busy machine and on a quiet one, so that a test may fail by it. It does not see
what C code does in one call: that is shown as a ratio to a fixed yardstick in the same process, and judged only where
ten times the work takes more than ten times as long.
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

from benchmarks.guarded import GROWING, OPERATIONS, Once

KEPT: Final = Path(__file__).with_name("guard.json")
SLACK: Final = 0.10
STEEP: Final = 13.0
"""What ten times the outputs may cost, of what they cost themselves; a copy for each would be near a hundred."""
PYTHON: Final = f"{sys.version_info.major}.{sys.version_info.minor}"


class Count(Struct, frozen=True):
    instructions: int
    calls: int
    """Of functions written in C."""


Counts = dict[str, Count]


def counts() -> Counts:
    """Of all operations, in this interpreter."""

    async def counted() -> Counts:
        return {operation.name: count(operation.prepare()) for operation in OPERATIONS}

    return asyncio.run(counted())


def count(once: Once) -> Count:
    """What one run takes, once everything that happens only the first time has happened."""
    for _ in range(3):
        once()
    tracing, profiling, collecting = sys.gettrace(), sys.getprofile(), gc.isenabled()
    gc.disable()  # finalizers are not part of it
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


def kept() -> Counts | None:
    """The budget for this version of Python; None: there is none, as each version has instructions of its own."""
    return _budgets().get(PYTHON)


def keep(found: Counts) -> None:
    budgets = dict(sorted((_budgets() | {PYTHON: found}).items()))
    KEPT.write_bytes(json.format(json.encode(budgets), indent=2) + b"\n")


def judge(found: Counts, budget: Counts) -> Iterator[str]:
    """What is not as it was kept, in words."""
    for name in budget.keys() - found.keys():
        yield f"{name}: is not counted any more."
    for name, now in found.items():
        if (then := budget.get(name)) is None:
            yield f"{name}: nothing is kept of it."
            continue
        for what in Count.__struct_fields__:
            yield from _compared(f"{name}: {what}", getattr(now, what), getattr(then, what))


def growth(make: Callable[[int], Once], *, size: int = 1_000, attempts: int = 5) -> float:
    """How often the time for `size` outputs goes into that for ten times as many; the least of some attempts."""
    small, large = make(size), make(10 * size)
    return min(_seconds(large, 3) / _seconds(small, 10) for _ in range(attempts))


def shares(repeats: int = 200) -> dict[str, float]:
    """The CPU time of each operation in terms of a yardstick's, which is taken in turns with it."""

    async def measured() -> dict[str, float]:
        return {operation.name: _share(operation.prepare(), repeats) for operation in OPERATIONS}

    return asyncio.run(measured())


def guard(*, update: bool = False) -> None:
    """Show the counts, and end the process with status 1 if they are not as they were kept."""
    found = counts()
    budget = found if update else kept()
    if update:
        keep(found)
    console = Console()
    console.print(_table(found, budget or {}, shares()))
    if budget is None:
        sys.exit(f"nothing is kept for Python {PYTHON}: `samovar bench guard --update` does it")
    wrong = list(judge(found, budget))
    wrong += [f"{name}: {ratio:.1f} × for 10 × the outputs" for name, ratio in _growths() if ratio > STEEP]
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


def _budgets() -> dict[str, Counts]:
    return json.decode(KEPT.read_bytes(), type=dict[str, Counts]) if KEPT.exists() else {}


def _compared(what: str, now: int, then: int) -> Iterator[str]:
    if now > then * (1 + SLACK) + 1:
        yield f"{what} went up from {then} to {now}: if it has to, `samovar bench guard --update`, and say why."
    elif now < then * (1 - SLACK) - 1:
        yield f"{what} went down from {then} to {now}: `samovar bench guard --update`, so that it stays there."


def _share(once: Once, repeats: int) -> float:
    for _ in range(3):
        once()
    own, yard = zip(*((_timed(once), _timed(_yardstick)) for _ in range(repeats)), strict=True)
    return min(own) / min(yard)


def _yardstick() -> int:
    """About a tenth of a millisecond of what our code is made of: attributes, calls, dicts, JSON."""
    total = 0
    for number in range(100):
        document = {"name": f"name-{number}", "values": [number] * 4}
        total += len(json.encode(document)) + number
    return total


def _timed(once: Once) -> int:
    began = time.thread_time_ns()
    once()
    return time.thread_time_ns() - began


def _seconds(once: Once, repeats: int) -> float:
    collecting = gc.isenabled()
    gc.disable()
    try:
        return min(_timed(once) for _ in range(repeats))
    finally:
        if collecting:
            gc.enable()


def _growths() -> Iterator[tuple[str, float]]:
    for name, make in GROWING.items():
        yield name, growth(make)


def _table(found: Counts, budget: Counts, shares: dict[str, float]) -> Table:
    table = Table("operation", "instructions", "kept", "calls into C", "kept", "CPU, × yardstick")
    for name, now in found.items():
        then = budget.get(name)
        columns = (now.instructions, then and then.instructions, now.calls, then and then.calls)
        table.add_row(name, *("" if each is None else str(each) for each in columns), f"{shares[name]:.2f}")
    return table
