"""The logs of child processes, followed on our own terminal: warnings and errors, or everything."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Never

from msgspec import DecodeError, json

from deploy.local.console import print_message

POLL_SECONDS: Final = 0.25
MAX_LOG_BYTES: Final = 10_000_000  # a longer log is rotated at a start
QUIET_LEVELS: Final = frozenset({"debug", "info"})
OMITTED_FIELDS: Final = frozenset({"event", "level", "timestamp", "logger", "exception"})


class LogTail:
    """Follows one log file from its present end."""

    def __init__(self, name: str, path: Path, *, verbose: bool) -> None:
        self._name = name
        self._path = path
        self._verbose = verbose
        self._offset = path.stat().st_size if path.exists() else 0
        self._partial_line = b""

    async def follow(self) -> Never:
        """Print new lines until canceled."""
        while True:
            self.print_new_lines()
            await asyncio.sleep(POLL_SECONDS)

    def print_new_lines(self) -> None:
        """Print the lines that were logged since the last call."""
        with suppress(FileNotFoundError):
            if self._path.stat().st_size == self._offset:
                return
            with self._path.open("rb") as file:
                file.seek(self._offset)
                *lines, self._partial_line = (self._partial_line + file.read()).split(b"\n")
                self._offset = file.tell()
            for line in lines:
                if text := format_line(self._name, line.decode(errors="replace"), verbose=self._verbose):
                    print_message(text)


def format_line(name: str, line: str, *, verbose: bool) -> str | None:
    """Format a log line for people; None for a line that need not be shown.

    A line that is not JSON was not logged by us, such as the interpreter's last words, and is always shown.
    """
    try:
        record = json.decode(line, type=dict[str, Any])
    except DecodeError:
        return f"{name}: {line}" if line.strip() else None
    level = str(record.get("level", "info"))
    if level in QUIET_LEVELS and not verbose:
        return None
    fields = " ".join(f"{key}={value}" for key, value in record.items() if key not in OMITTED_FIELDS)
    trace = f"\n{record['exception']}" if "exception" in record else ""
    return f"{name}: {level}: {record.get('event', '')} {fields}".rstrip() + trace


def rotate_log(log: Path) -> None:
    """Start a new log file when the old one has become long. One old file is kept."""
    with suppress(FileNotFoundError):
        if log.stat().st_size > MAX_LOG_BYTES:
            log.replace(log.with_name(log.name + ".1"))
