"""Progress of predictions and uploads, on stderr."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Final, Self

from rich.console import Console

from deploy.cli.client.predictions import FINAL
from deploy.cli.terminal.output import format_bytes, print_message

MIN_REPORTED_BYTES: Final = 50_000_000  # a smaller upload is over before a percentage would help


class Progress(AbstractContextManager["Progress"]):
    """The status and log of a prediction, training or push: a spinner on a terminal, a line per change in a pipe."""

    def __init__(self, status: str) -> None:
        self._status = ""
        self._spinner: Any = None
        self._first_status = status

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            self._spinner = Console(stderr=True).status(self._first_status)
            self._spinner.start()
        self._status = self._first_status
        return self

    def update(self, status: str) -> None:
        """Show a new status. A final one is left to the command, which reports how it ended."""
        if status == self._status or status in FINAL:
            return
        self._status = status
        if self._spinner:
            self._spinner.update(status)
        elif not sys.stderr.isatty():
            print_message(status)

    def print_log(self, text: str) -> None:
        """Print what the model logged, dimmed on a terminal."""
        if self._spinner:
            self._spinner.console.print(text.rstrip("\n"), style="dim", markup=False, highlight=False)
        else:
            print(text, end="", file=sys.stderr, flush=True)

    def stop(self) -> None:
        """Remove the spinner, so that output can follow."""
        if self._spinner:
            self._spinner.stop()
            self._spinner = None

    def __exit__(self, *_: object) -> None:
        self.stop()


class UploadProgress(AbstractContextManager["UploadProgress"]):
    """The progress of an upload: a bar on a terminal, a few lines in a pipe."""

    def __init__(self, description: str, size: int) -> None:
        self._description = description
        self._size = size
        self._sent_bytes = 0
        self._reported_percent = 0
        self._bar: Any = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

            columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._bar.add_task(self._description, total=self._size)
            self._bar.start()
        else:
            print_message(f"{self._description}, {format_bytes(self._size)}")
        return self

    def track(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Pass the pieces on, and report each as sent once the next one is asked for."""
        for piece in pieces:
            yield piece
            self._sent_bytes += len(piece)
            self._report()

    def _report(self) -> None:
        if self._bar:
            self._bar.update(0, completed=self._sent_bytes)
            return
        percent = self._sent_bytes * 100 // self._size if self._size >= MIN_REPORTED_BYTES else 0
        if percent >= self._reported_percent + 10 and percent < 100:
            self._reported_percent = percent
            print_message(f"{percent} % uploaded")

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()
