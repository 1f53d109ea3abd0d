"""What the children log, on our own terminal: warnings and errors, or everything."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Never

from msgspec import DecodeError, json

from deploy.local.console import say

EVERY: Final = 0.25  # seconds
KEPT: Final = 10_000_000  # bytes of a log before it is put aside at a start
QUIET: Final = frozenset({"debug", "info"})
UNSAID: Final = frozenset({"event", "level", "timestamp", "logger", "exception"})


class Tail:
    """Follows a log file from where it ends now."""

    def __init__(self, name: str, path: Path, *, verbose: bool) -> None:
        self._name = name
        self._path = path
        self._verbose = verbose
        self._place = path.stat().st_size if path.exists() else 0
        self._rest = b""

    async def follow(self) -> Never:
        while True:
            self.show()
            await asyncio.sleep(EVERY)

    def show(self) -> None:
        """What has come since the last time."""
        with suppress(FileNotFoundError):
            if self._path.stat().st_size == self._place:
                return
            with self._path.open("rb") as file:
                file.seek(self._place)
                *lines, self._rest = (self._rest + file.read()).split(b"\n")
                self._place = file.tell()
            for line in lines:
                if told := rendered(self._name, line.decode(errors="replace"), verbose=self._verbose):
                    say(told)


def rendered(name: str, line: str, *, verbose: bool) -> str | None:
    """A line of a log as a person reads it; None when it need not be read. What is no JSON was not meant as a log."""
    try:
        said = json.decode(line, type=dict[str, Any])
    except DecodeError:
        return f"{name}: {line}" if line.strip() else None
    level = str(said.get("level", "info"))
    if level in QUIET and not verbose:
        return None
    rest = " ".join(f"{key}={value}" for key, value in said.items() if key not in UNSAID)
    trace = f"\n{said['exception']}" if "exception" in said else ""
    return f"{name}: {level}: {said.get('event', '')} {rest}".rstrip() + trace


def put_aside(log: Path) -> None:
    """Begin a new file when the old one has become long; one old one is kept."""
    with suppress(FileNotFoundError):
        if log.stat().st_size > KEPT:
            log.replace(log.with_name(log.name + ".1"))
