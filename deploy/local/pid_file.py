"""The processes of a data directory, on disk: the next `samovar up` ends them, should this one be killed."""

from contextlib import suppress
from pathlib import Path

import psutil
from msgspec import DecodeError, Struct, json

from deploy.local.data_dir import write_private_file
from deploy.local.process import kill

START_TIME_TOLERANCE = 2.0  # seconds: start times are relative to the boot time, which moves when the clock is set


class ProcessEntry(Struct, frozen=True):
    """A process in the file."""

    pid: int
    began: float
    """Its start time: the pid alone may belong to another process by now."""


class PidFile:
    """The child processes of one data directory, by name. It is written whenever a child starts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries: dict[str, ProcessEntry] = {}

    def record(self, name: str, pid: int) -> None:
        """Record that the process runs under this name."""
        with suppress(psutil.Error):
            self._entries[name] = ProcessEntry(pid, psutil.Process(pid).create_time())
            write_private_file(self._path, json.encode(self._entries).decode() + "\n")

    def end_leftovers(self, timeout: float = 3) -> list[str]:
        """End the processes that an earlier `up` left running, with all descendants, and return their names."""
        leftovers = {name: process for name, entry in self._read().items() if (process := _find_process(entry))}
        family = [relative for process in leftovers.values() for relative in [*_find_children(process), process]]
        # The kernel asked them to stop when their parent died, so they get `timeout` seconds first.
        _, alive = psutil.wait_procs(family, timeout=timeout)
        kill(alive)
        psutil.wait_procs(alive, timeout=timeout)
        return sorted(leftovers)

    def _read(self) -> dict[str, ProcessEntry]:
        with suppress(FileNotFoundError, DecodeError):
            return json.decode(self._path.read_bytes(), type=dict[str, ProcessEntry])
        return {}


def _find_process(entry: ProcessEntry) -> psutil.Process | None:
    with suppress(psutil.Error):
        process = psutil.Process(entry.pid)
        return process if abs(process.create_time() - entry.began) < START_TIME_TOLERANCE else None
    return None


def _find_children(process: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return process.children(recursive=True)
    return []
