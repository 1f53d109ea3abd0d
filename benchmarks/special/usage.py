"""The usage of idle processes: memory, and CPU to the microsecond."""

import time
from collections.abc import Sequence
from pathlib import Path

import psutil


def cpu_percent(processes: Sequence[psutil.Process], seconds: float) -> float:
    """Measure for so many seconds, and return the percentage of a core."""
    before, began = cpu_seconds(processes), time.monotonic()
    time.sleep(seconds)
    return (cpu_seconds(processes) - before) / (time.monotonic() - began) * 100


def cpu_seconds(processes: Sequence[psutil.Process]) -> float:
    """Return seconds of CPU; the kernel's clock ticks are too coarse for an idle process."""
    return sum(_spent(process) for process in processes)


def resident_bytes(process: psutil.Process) -> int:
    """Return the RSS in bytes; it includes pages that others share."""
    return process.memory_info().rss


def process_tree(root: psutil.Process) -> list[psutil.Process]:
    """Return a process and all below it."""
    return [root, *root.children(recursive=True)]


def _spent(process: psutil.Process) -> float:
    threads = list(Path(f"/proc/{process.pid}/task").glob("*/schedstat"))
    try:
        if threads:
            return sum(int(each.read_text().split()[0]) for each in threads) / 1e9
        times = process.cpu_times()
    except (OSError, psutil.Error):
        return 0.0  # it has just ended
    return times.user + times.system
