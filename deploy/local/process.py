"""A process of the local stack: started in a session of its own, ended with all its descendants."""

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
    """Who a process runs as."""

    uid: int
    gid: int


class Command(Struct, frozen=True, kw_only=True):
    """How a process is started, and how it is asked to stop."""

    name: str
    argv: tuple[str, ...]
    log: Path
    env: Mapping[str, str]
    cwd: Path | None = None
    owner: Owner | None = None
    """None: as ourselves."""
    stop: signal.Signals = signal.SIGTERM
    patience: float = 10
    """Seconds that it has for stopping before it is killed."""


async def start(command: Command) -> Process:
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
            preexec_fn=_die_with_parent(command.stop),
            user=owner.uid if owner else None,
            group=owner.gid if owner else None,
            extra_groups=[] if owner else None,
        )


async def end(process: Process, command: Command) -> None:
    """Ask it to stop; when its patience is over, kill it. What it leaves behind is killed as well."""
    family = descendants(process.pid)
    try:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.send_signal(command.stop)
            with suppress(TimeoutError):
                async with asyncio.timeout(command.patience):
                    await process.wait()
    finally:
        kill([*family, *descendants(process.pid)])
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@asynccontextmanager
async def running(command: Command) -> AsyncGenerator[Process]:
    process = await start(command)
    try:
        yield process
    finally:
        await end(process, command)


def descendants(pid: int) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return psutil.Process(pid).children(recursive=True)
    return []


def children() -> set[int]:
    """The processes that are ours to bury; Linux tells without a look at all that there are."""
    with suppress(OSError):
        lists = [Path(f"/proc/self/task/{task}/children") for task in os.listdir("/proc/self/task")]
        return {int(pid) for each in lists for pid in each.read_text().split()}
    return {child.pid for child in psutil.Process().children()}


def kill(processes: list[psutil.Process]) -> None:
    """`psutil` looks at the start times, so a pid that was given to a stranger since is spared."""
    for process in processes:
        with suppress(psutil.Error):
            process.kill()


def adopt_orphans() -> None:
    """Make descendants whose parent dies children of ours, so that none gets out of sight (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


def last_words(log: Path, lines: int = 20) -> str:
    with suppress(OSError), log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 64_000))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
    return ""


def _die_with_parent(by: signal.Signals) -> Callable[[], None] | None:
    """What the child does before it becomes its program: have the kernel tell it when we are gone (Linux only)."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up here: after the fork nothing may be loaded
    return lambda: prctl(PR_SET_PDEATHSIG, int(by))
