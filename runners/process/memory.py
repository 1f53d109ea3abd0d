"""How much memory workers have, with all the processes that they started."""

import os
import resource
import sys
from collections.abc import Iterable, Set
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

SLACK: Final = (
    0.05  # of the host's share, up to as many bytes: what is mapped and never touched, as stacks of threads are
)
MOST_SLACK: Final = 256_000_000
EXPENDABLE: Final = "500"  # whom the system ends first when memory runs out: a worker, not what feeds it

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


def resident(groups: Iterable[int]) -> dict[int, int]:
    """Resident bytes of each of these process groups. Pages that two processes share count in both."""
    return Scale().weigh(set(groups))


class Scale:
    """Weighs process groups again and again. Who is in them takes a look at all processes of the host to find out."""

    def __init__(self) -> None:
        self._groups: Set[int] = set()
        self._members: list[str] = []

    def weigh(self, groups: Set[int], *, anew: bool = True) -> dict[int, int]:
        """As `resident`. Unless `anew`, processes that were started since the last time may be left out."""
        if not groups or sys.platform != "linux":
            return {pid: _of(pid) for pid in groups}
        among = os.listdir("/proc") if anew or not groups <= self._groups else self._members
        found, members = dict.fromkeys(groups, 0), list[str]()
        for entry in filter(str.isdigit, among):
            group, size = _stat(entry)
            if group in found:
                found[group] += size
                members.append(entry)
        self._groups, self._members = groups, members
        return found


def wall(pid: int, limit: int) -> None:
    """What a worker may allocate: more than that fails in it, with `MemoryError`, rather than on the whole host."""
    if sys.platform == "linux":
        with suppress(OSError, ValueError):
            resource.prlimit(pid, resource.RLIMIT_DATA, (limit, resource.RLIM_INFINITY))


def slack(host: int) -> int:
    return min(MOST_SLACK, int(SLACK * host))


def expend(pid: int) -> None:
    with suppress(OSError):
        Path(f"/proc/{pid}/oom_score_adj").write_text(EXPENDABLE)


def _stat(pid: str) -> tuple[int, int]:
    """Group and resident bytes, from proc_pid_stat(5): fields 5 and 24, after a name that may hold anything."""
    try:
        file = os.open(f"/proc/{pid}/stat", os.O_RDONLY)  # `open` asks the system eight times, where three will do
    except OSError:
        return 0, 0
    try:
        fields = os.read(file, 4096).rpartition(b")")[2].split(maxsplit=22)
    except OSError:
        return 0, 0
    finally:
        os.close(file)
    return int(fields[2]), int(fields[21]) * _PAGE


def _of(pid: int) -> int:
    try:
        return psutil.Process(pid).memory_info().rss
    except psutil.Error:
        return 0
