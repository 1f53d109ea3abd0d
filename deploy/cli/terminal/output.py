"""How things are shown: for people on a terminal, for programs in a pipe."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, Self

from msgspec import json
from rich.console import Console
from rich.table import Table
from rich.text import Text

FINAL: Final = frozenset({"succeeded", "failed", "canceled", "aborted"})
MUCH: Final = 50_000_000  # bytes; sending them takes long enough to be told how far it is


def pretty(value: Any) -> str:
    return json.format(json.encode(value)).decode()


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table on a terminal; lines of tab-separated values in a pipe."""
    if not sys.stdout.isatty():
        for row in rows:
            print("\t".join(cell.replace("\t", " ").replace("\n", " ") for cell in _texts(row)))
        return
    Console().print(drawn(columns, rows))


def drawn(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """A table as rich draws it."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, no_wrap=number == 0, overflow="fold")  # what comes first is what one copies
    for row in rows:
        table.add_row(*map(Text, _texts(row)))  # as text: an output with brackets is no markup
    return table


def _texts(row: Sequence[object]) -> list[str]:
    return ["" if cell is None else str(cell) for cell in row]


class Progress(AbstractContextManager["Progress"]):
    """What a prediction is doing, on stderr: a spinner on a terminal, a line per change in a pipe."""

    def __init__(self, status: str) -> None:
        self._status = ""
        self._spinner: Any = None
        self._first = status

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            self._spinner = Console(stderr=True).status(self._first)
            self._spinner.start()
        self._status = self._first
        return self

    def says(self, status: str) -> None:
        if status == self._status or status in FINAL:
            return  # how it ended is told by what comes after
        self._status = status
        if self._spinner:
            self._spinner.update(status)
        elif not sys.stderr.isatty():
            print(f"samovar: {status}", file=sys.stderr, flush=True)

    def log(self, text: str) -> None:
        """What the model logged, dimmed on a terminal."""
        if self._spinner:
            self._spinner.console.print(text.rstrip("\n"), style="dim", markup=False, highlight=False)
        else:
            print(text, end="", file=sys.stderr, flush=True)

    def stop(self) -> None:
        if self._spinner:
            self._spinner.stop()
            self._spinner = None

    def __exit__(self, *_: object) -> None:
        self.stop()


class Transfer(AbstractContextManager["Transfer"]):
    """How far an upload is, on stderr: a bar on a terminal, a few lines in a pipe."""

    def __init__(self, what: str, size: int) -> None:
        self._what = what
        self._size = size
        self._sent = 0
        self._told = 0
        self._bar: Any = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

            columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._bar.add_task(self._what, total=self._size)
            self._bar.start()
        else:
            print(f"samovar: {self._what}, {amount(self._size)}", file=sys.stderr, flush=True)
        return self

    def passing(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            yield piece
            self._sent += len(piece)
            self._tell()

    def _tell(self) -> None:
        if self._bar:
            self._bar.update(0, completed=self._sent)
            return
        percent = self._sent * 100 // self._size if self._size >= MUCH else 0
        if percent >= self._told + 10 and percent < 100:
            self._told = percent
            print(f"samovar: {percent} % uploaded", file=sys.stderr, flush=True)

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()


def amount(size: int) -> str:
    """Bytes as people read them."""
    number = float(size)
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"


def lasting(seconds: float) -> str:
    """A time as people tell it, in its largest unit."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:.0f} s"
