"""Processes of the local stack, each started in its own session and ended with all its descendants."""

import asyncio
import ctypes
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, STDOUT, Process
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import psutil
from msgspec import Struct

PR_SET_PDEATHSIG: Final = 1
PR_SET_CHILD_SUBREAPER: Final = 36


class Owner(Struct, frozen=True):
    """The user and group that a process runs as."""

    uid: int
    gid: int


class Command(Struct, frozen=True, kw_only=True):
    """A process to start, and how to stop it."""

    name: str
    argv: tuple[str, ...]
    log: Path
    env: Mapping[str, str]
    cwd: Path | None = None
    owner: Owner | None = None
    """None: the user who runs us."""
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 10
    """How long it may take to stop before it is killed."""


async def start_process(command: Command) -> Process:
    """Start a process that logs to its file. On Linux, it gets its stop signal when we die."""
    command.log.parent.mkdir(parents=True, exist_ok=True)
    owner = command.owner
    with command.log.open("ab") as log:
        return await asyncio.create_subprocess_exec(
            *command.argv,
            stdin=DEVNULL,
            stdout=log,
            stderr=STDOUT,
            env=dict(command.env),
            cwd=command.cwd,
            start_new_session=True,
            preexec_fn=_signal_when_parent_dies(command.stop_signal),
            user=owner.uid if owner else None,
            group=owner.gid if owner else None,
            extra_groups=[] if owner else None,
        )


async def stop_process(process: Process, command: Command) -> None:
    """Ask a process to stop, kill it when its time is over, and kill what it leaves behind."""
    family = descendants(process.pid)
    try:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.send_signal(command.stop_signal)
            with suppress(TimeoutError):
                async with asyncio.timeout(command.stop_seconds):
                    await process.wait()
    finally:
        kill([*family, *descendants(process.pid)])
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@asynccontextmanager
async def run_process(command: Command) -> AsyncGenerator[Process]:
    """Run a process inside the block."""
    process = await start_process(command)
    try:
        yield process
    finally:
        await stop_process(process, command)


def descendants(pid: int) -> list[psutil.Process]:
    """Return all descendants of a process, or none if it is gone."""
    with suppress(psutil.Error):
        return psutil.Process(pid).children(recursive=True)
    return []


def child_pids() -> set[int]:
    """Return the pids of our children, adopted ones included; Linux knows them without a scan of all processes."""
    with suppress(OSError):
        lists = [Path(f"/proc/self/task/{task}/children") for task in os.listdir("/proc/self/task")]
        return {int(pid) for each in lists for pid in each.read_text().split()}
    return {child.pid for child in psutil.Process().children()}


def kill(processes: list[psutil.Process]) -> None:
    """Kill these processes. `psutil` compares start times, so it spares a stranger who has got a pid since."""
    for process in processes:
        with suppress(psutil.Error):
            process.kill()


def adopt_orphans() -> None:
    """Adopt descendants whose parent dies, so that none gets out of sight (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


def last_output(log: Path, lines: int = 20) -> str:
    """Return the last lines of a log, or an empty text if it cannot be read."""
    with suppress(OSError), log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 64_000))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
    return ""


def _signal_when_parent_dies(stop_signal: signal.Signals) -> Callable[[], None] | None:
    """Return what a child calls before its program starts: the kernel then signals it when we die (Linux only)."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up here: after the fork nothing may be loaded
    return lambda: prctl(PR_SET_PDEATHSIG, int(stop_signal))
