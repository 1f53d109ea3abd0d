"""Finds the processes of a stack as an operator would: below `up`, by their command lines."""

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
    """Return the processes of a kind, oldest first."""
    return find_below(stack.up.pid, kind)


def find_below(root: int, kind: str) -> list[psutil.Process]:
    """Return the processes of a kind that a process has started, oldest first."""
    try:
        family = psutil.Process(root).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    alive = [process for process in family if KINDS[kind](_command(process))]
    return sorted(alive, key=_age)


def count(stack: Stack) -> int:
    """Return how many processes a stack has, including `up`."""
    return 1 + len(stack.up.children(recursive=True))


def cpu_seconds(root: int) -> dict[str, float]:
    """Return the seconds of CPU of each kind of process since its start, including its children."""
    used = dict.fromkeys(KINDS, 0.0)
    for kind in KINDS:
        for process in find_below(root, kind):
            children = process.children() if kind == "postgres" else []
            used[kind] += sum(_seconds(each) for each in [process, *children])
    return used


def total_cpu_seconds(root: int) -> float:
    """Return the seconds of CPU of a process and all below it."""
    try:
        process = psutil.Process(root)
        return sum(_seconds(each) for each in [process, *process.children(recursive=True)])
    except psutil.NoSuchProcess:
        return 0.0


def _seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return times.user + times.system


def wait_until_dead(process: psutil.Process) -> None:
    """Wait until a process is gone, or waits only for its parent to notice."""
    while psutil.pid_exists(process.pid):
        try:
            if process.status() in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}:
                return
        except psutil.NoSuchProcess:
            return
        time.sleep(0.002)


def jetstream_folder(stack: Stack) -> Path:
    """Return the folder where nats-server stores its streams."""
    return next(path for path in stack.data_dir.rglob("jetstream") if path.is_dir())


def delete_folder(folder: Path) -> None:
    """Delete a folder."""
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
