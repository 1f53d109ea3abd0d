"""The memory of worker processes, with all the processes that they started: measured and limited."""

import os
import resource
import sys
from collections.abc import Iterable, Set
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

SLACK_SHARE: Final = 0.05  # of the host's limit: for what is mapped and never touched, such as stacks of threads
MAX_SLACK_BYTES: Final = 256_000_000
OOM_SCORE_ADJ: Final = "500"  # when memory runs out, the system ends a worker first, and not what feeds it

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


def resident_bytes(groups: Iterable[int]) -> dict[int, int]:
    """Return the resident bytes of each of these process groups. Pages that two processes share count in both."""
    return MemoryMeter().measure(set(groups))


class MemoryMeter:
    """A meter for the memory of process groups, to be read again and again.

    It remembers the members of the groups, as finding them takes a look at all processes of the host.
    """

    def __init__(self) -> None:
        self._groups: Set[int] = set()
        self._members: list[str] = []

    def measure(self, groups: Set[int], *, rescan: bool = True) -> dict[int, int]:
        """Return the resident bytes of each group; without `rescan`, processes started since then may be left out."""
        if not groups or sys.platform != "linux":
            return {pid: _process_bytes(pid) for pid in groups}
        candidates = os.listdir("/proc") if rescan or not groups <= self._groups else self._members
        sizes, members = dict.fromkeys(groups, 0), list[str]()
        for entry in filter(str.isdigit, candidates):
            group, size = _read_stat(entry)
            if group in sizes:
                sizes[group] += size
                members.append(entry)
        self._groups, self._members = groups, members
        return sizes


def limit_allocations(pid: int, limit: int) -> None:
    """Limit the bytes that a worker may allocate: beyond it fails with `MemoryError`, instead of the whole host."""
    if sys.platform == "linux":
        with suppress(OSError, ValueError):
            resource.prlimit(pid, resource.RLIMIT_DATA, (limit, resource.RLIM_INFINITY))


def slack_bytes(host_limit: int) -> int:
    """Return the bytes that a worker may map beyond its slot without touching them."""
    return min(MAX_SLACK_BYTES, int(SLACK_SHARE * host_limit))


def prefer_for_oom_kill(pid: int) -> None:
    """Have the system end this process before others when memory runs out."""
    with suppress(OSError):
        Path(f"/proc/{pid}/oom_score_adj").write_text(OOM_SCORE_ADJ)


def _read_stat(pid: str) -> tuple[int, int]:
    """Return group and resident bytes: fields 5 and 24 of proc_pid_stat(5), after a name that may hold anything."""
    try:
        file = os.open(f"/proc/{pid}/stat", os.O_RDONLY)  # `open` makes eight system calls, where three will do
    except OSError:
        return 0, 0
    try:
        fields = os.read(file, 4096).rpartition(b")")[2].split(maxsplit=22)
    except OSError:
        return 0, 0
    finally:
        os.close(file)
    return int(fields[2]), int(fields[21]) * _PAGE_BYTES


def _process_bytes(pid: int) -> int:
    try:
        return psutil.Process(pid).memory_info().rss
    except psutil.Error:
        return 0
