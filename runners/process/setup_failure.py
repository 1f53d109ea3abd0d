"""The failures of a worker's setup, described by what is known of each."""

import re
import signal
from pathlib import Path
from typing import Final

from runners.errors import SetupFailed, location_prefix
from runners.worker.frames import LoadFailed

MAX_ERROR_CHARS: Final = 8_000
MAX_LOG_CHARS: Final = 100_000


def from_report(reported: LoadFailed) -> SetupFailed:
    """Return the failure that a worker reported itself."""
    error = reported.error[:MAX_ERROR_CHARS]
    return SetupFailed(
        f"{reported.stage} failed: {error}",
        reported.log[-MAX_LOG_CHARS:],
        stage=reported.stage,
        file=reported.file,
        line=reported.line,
        cause=error.removeprefix(location_prefix(reported.file, reported.line)),
    )


def from_exit(ended: str, output: str, folder: Path, limit: float | None) -> SetupFailed:
    """Return the failure of a worker that died in setup (`ended` says how), or reached the `limit` in seconds."""
    file, line = _fault_location(output, folder)
    cause = f"setup took longer than the limit of {limit:g} s" if limit else f"the worker died: {ended}"
    reason = cause if limit else f"the worker died in setup: {ended}"
    return SetupFailed(reason, output[-MAX_LOG_CHARS:], file=file, line=line, cause=cause)


def exit_reason(code: int) -> str:
    """Describe how a process ended, from its return code."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def _fault_location(output: str, folder: Path) -> tuple[str | None, int | None]:
    """Return the deepest place in the predictor's own files that a fatal error of the interpreter names."""
    _, _, dump = output.rpartition("Current thread ")
    for file, line in re.findall(r'File "([^"]+)", line (\d+)', dump or output):
        if Path(file).is_relative_to(folder.resolve()):
            return str(Path(file).relative_to(folder.resolve())), int(line)
    return None, None


class SetupLog:
    """The end of what a worker printed in setup."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._size = 0

    def add(self, text: str) -> None:
        """Append text; the oldest is dropped once there is too much."""
        self._pieces.append(text)
        self._size += len(text)
        if self._size > 2 * MAX_LOG_CHARS:
            self._pieces = [self.text()]
            self._size = len(self._pieces[0])

    def text(self) -> str:
        """Return the last `MAX_LOG_CHARS` characters."""
        return "".join(self._pieces)[-MAX_LOG_CHARS:]
