"""Changes of the files in a model's folder."""

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from watchfiles import watch

from runners.errors import BadFolder
from runners.versions import archive

QUIET_MS: Final = 200  # without a change: whoever saves several files is done
POLL_MS: Final = 1000  # some file systems never report a change
MAX_LISTED_NAMES: Final = 5

FileStates = Mapping[str, tuple[int, int]]
"""By name within the folder: when each file was modified (ns), and its size."""


def watch_changes(folder: Path, stop: threading.Event | None = None) -> Iterator[str]:
    """Yield the names of the files that changed, after each change of those that a push packs.

    The first text is empty and comes at once. `stop` ends the watch.
    """
    before = _read_states(folder)
    yield ""
    for _ in watch(
        folder,
        watch_filter=None,
        step=QUIET_MS,
        rust_timeout=POLL_MS,
        yield_on_timeout=True,
        stop_event=stop,
    ):
        now = _read_states(folder)
        # What the watcher reports does not count: it may concern what is never packed, or have been undone.
        if now != before:
            changed, before = _describe_changes(before, now), now
            yield changed


def _read_states(folder: Path) -> FileStates:
    try:
        return {path.relative_to(folder).as_posix(): _file_state(path) for path in archive.list_files(folder)}
    except (BadFolder, OSError):
        return {}  # somebody is working on it, or a push reports what is wrong


def _file_state(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_mtime_ns, status.st_size


def _describe_changes(before: FileStates, now: FileStates) -> str:
    if not before or not now:
        return "the folder"
    names = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    more = f" and {len(names) - MAX_LISTED_NAMES} more" if len(names) > MAX_LISTED_NAMES else ""
    return ", ".join(names[:MAX_LISTED_NAMES]) + more
