"""Which processes are ours, on disk: for the next `samovar up`, should this one be killed."""

from contextlib import suppress
from pathlib import Path

import psutil
from msgspec import DecodeError, Struct, json

from deploy.local.data_dir import write_private
from deploy.local.process import kill

LENIENCE = 2.0  # seconds: start times are told relative to the boot time, which moves when the clock is set


class Entry(Struct, frozen=True):
    pid: int
    began: float
    """A pid alone may have been given to a stranger since."""


class Ledger:
    """The children of one data directory by name, written down whenever one is started."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries: dict[str, Entry] = {}

    def record(self, name: str, pid: int) -> None:
        with suppress(psutil.Error):
            self._entries[name] = Entry(pid, psutil.Process(pid).create_time())
            write_private(self._path, json.encode(self._entries).decode() + "\n")

    def end_leftovers(self, patience: float = 3) -> list[str]:
        """End what an earlier `up` left running, with all descendants; the names of those that were."""
        left = {name: process for name, entry in self._read().items() if (process := _still(entry))}
        family = [relative for process in left.values() for relative in [*_below(process), process]]
        # The kernel asked them to stop when their parent died.
        _, alive = psutil.wait_procs(family, timeout=patience)
        kill(alive)
        psutil.wait_procs(alive, timeout=patience)
        return sorted(left)

    def _read(self) -> dict[str, Entry]:
        with suppress(FileNotFoundError, DecodeError):
            return json.decode(self._path.read_bytes(), type=dict[str, Entry])
        return {}


def _still(entry: Entry) -> psutil.Process | None:
    with suppress(psutil.Error):
        process = psutil.Process(entry.pid)
        return process if abs(process.create_time() - entry.began) < LENIENCE else None
    return None


def _below(process: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return process.children(recursive=True)
    return []
