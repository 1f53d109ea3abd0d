"""`samovar push --watch`: every change of the folder is pushed, and tried."""

import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from watchfiles import watch as changes

from deploy.cli.client import references
from deploy.cli.client.api import Api
from deploy.cli.commands.push import once, tell
from deploy.cli.commands.run import run
from deploy.errors import DeployError
from runners.errors import BadFolder
from runners.versions import archive

QUIET: Final = 200  # ms without a change: whoever saves several files is done
LOOK: Final = 1000  # ms; some file systems never tell of a change

State = Mapping[str, tuple[int, int]]
"""By name within the folder: when each file was changed, and its size."""


def push_and_watch(
    api: Api,
    folder: Path,
    ref: str,
    wanted: Mapping[str, str],
    given: list[str],
    *,
    output_dir: Path,
    as_json: bool,
) -> int:
    """Until an interrupt. Returns the exit status."""
    model = references.model(ref)
    try:
        for what in changed(folder.expanduser()):
            if what:
                _say(f"changed: {what}")
            try:
                pushed = once(api, folder, model, wanted)
                if pushed is None:
                    return 130
                tell(api, pushed, as_json=as_json)
                if (
                    pushed.good
                    and given
                    and run(api, f"{pushed.model}:{pushed.version}", given, output_dir=output_dir, as_json=as_json)
                    == 130
                ):
                    return 130
            except DeployError as error:
                _say(str(error))
            _say(f"watching {folder}; Ctrl-C ends it")
    except KeyboardInterrupt:
        pass
    return 130


def changed(folder: Path, stop: threading.Event | None = None) -> Iterator[str]:
    """What has changed of that which is packed, once at first for nothing."""
    before = _state(folder)
    yield ""
    for _ in changes(
        folder,
        watch_filter=None,
        step=QUIET,
        rust_timeout=LOOK,
        yield_on_timeout=True,
        stop_event=stop,
    ):
        now = _state(folder)
        # Not what was told of: it may concern what is never packed, or have been undone.
        if now != before:
            what, before = _difference(before, now), now
            yield what


def _state(folder: Path) -> State:
    try:
        return {path.relative_to(folder).as_posix(): _stamp(path) for path in archive.listed(folder)}
    except (BadFolder, OSError):
        return {}  # it is being worked on, or a push says what is wrong with it


def _stamp(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_mtime_ns, status.st_size


def _difference(before: State, now: State, most: int = 5) -> str:
    if not before or not now:
        return "the folder"
    names = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def _say(text: str) -> None:
    print(f"samovar: {text}", file=sys.stderr, flush=True)
