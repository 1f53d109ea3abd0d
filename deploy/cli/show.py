"""How things are shown: for people on a terminal, for programs in a pipe."""

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, Self

from msgspec import json

FINAL: Final = frozenset({"succeeded", "failed", "canceled", "aborted"})


def pretty(value: Any) -> str:
    return json.format(json.encode(value)).decode()


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table on a terminal; lines of tab-separated values in a pipe."""
    texts = [["" if cell is None else str(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for row in texts:
            print("\t".join(cell.replace("\t", " ").replace("\n", " ") for cell in row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        drawn.add_column(column, no_wrap=number == 0, overflow="fold")  # what comes first is what one copies
    for row in texts:
        drawn.add_row(*map(Text, row))  # as text: an output with brackets is no markup
    Console().print(drawn)


class Progress(AbstractContextManager["Progress"]):
    """What a prediction is doing, on stderr: a spinner on a terminal, a line per change in a pipe."""

    def __init__(self, status: str) -> None:
        self._status = ""
        self._spinner: Any = None
        self._first = status

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console

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
