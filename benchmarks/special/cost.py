"""What processes cost while nobody asks anything: memory, and CPU to the microsecond."""

import time
from collections.abc import Sequence
from pathlib import Path

import psutil


def busy(processes: Sequence[psutil.Process], seconds: float) -> float:
    """Of a core, in percent, during so many seconds from now."""
    before, began = spent(processes), time.monotonic()
    time.sleep(seconds)
    return (spent(processes) - before) / (time.monotonic() - began) * 100


def spent(processes: Sequence[psutil.Process]) -> float:
    """Seconds of CPU; the kernel's clock ticks are too coarse for a process that hardly does anything."""
    return sum(_spent(process) for process in processes)


def resident(process: psutil.Process) -> int:
    """RSS, in bytes: more than is its own, as it counts pages that others share."""
    return process.memory_info().rss


def family(root: psutil.Process) -> list[psutil.Process]:
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
