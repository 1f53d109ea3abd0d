"""The processes of a stack, found the way an operator would: below `up`, by their command lines."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import psutil

from benchmarks.stack import Stack

Test = Callable[[str], bool]

KINDS: Final[dict[str, Test]] = {
    "gateway": lambda line: "samovar gateway" in line or "deploy.cli.main gateway" in line,
    "agent": lambda line: "samovar runner" in line or "deploy.cli.main runner" in line,
    "worker": lambda line: "host.py serve" in line,
    "nats": lambda line: line.split(" ", 1)[0].endswith("nats-server"),
    "postgres": lambda line: line.split(" ", 1)[0].endswith("bin/postgres"),
}


def find(stack: Stack, kind: str) -> list[psutil.Process]:
    """Oldest first."""
    return below(stack.up.pid, kind)


def below(root: int, kind: str) -> list[psutil.Process]:
    """Those of a kind that a process has started, oldest first."""
    try:
        family = psutil.Process(root).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    alive = [process for process in family if KINDS[kind](_command(process))]
    return sorted(alive, key=_age)


def count(stack: Stack) -> int:
    """All of them, `up` included."""
    return 1 + len(stack.up.children(recursive=True))


def cpu(root: int) -> dict[str, float]:
    """Seconds of CPU that each kind has used since its processes were started, their own children included."""
    used = dict.fromkeys(KINDS, 0.0)
    for kind in KINDS:
        for process in below(root, kind):
            children = process.children() if kind == "postgres" else []
            used[kind] += sum(_seconds(one) for one in [process, *children])
    return used


def cpu_of_all(root: int) -> float:
    """Seconds of CPU that a process and all below it have used."""
    try:
        process = psutil.Process(root)
        return sum(_seconds(one) for one in [process, *process.children(recursive=True)])
    except psutil.NoSuchProcess:
        return 0.0


def _seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return times.user + times.system


def wait_dead(process: psutil.Process) -> None:
    """Until it is gone, or waits only for its parent to notice."""
    while psutil.pid_exists(process.pid):
        try:
            if process.status() in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}:
                return
        except psutil.NoSuchProcess:
            return
        time.sleep(0.002)


def jetstream(stack: Stack) -> Path:
    """Where nats-server keeps its streams."""
    return next(path for path in stack.data_dir.rglob("jetstream") if path.is_dir())


def wipe(folder: Path) -> None:
    shutil.rmtree(folder)


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _age(process: psutil.Process) -> float:
    try:
        return process.create_time()
    except psutil.Error:
        return float("inf")
