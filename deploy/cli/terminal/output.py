"""Output for people at a terminal and for programs in a pipe."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import json
from rich.console import Console
from rich.table import Table
from rich.text import Text

from deploy.errors import UsageError

Item = Mapping[str, Any]
Cells = Sequence[object]


def print_message(text: str) -> None:
    """Print a message to the person, on stderr: stdout is for what a program may read."""
    print(f"samovar: {text}", file=sys.stderr, flush=True)


def confirm(question: str) -> bool:
    """Ask a yes-or-no question at the terminal. Raises `UsageError` where nobody can answer."""
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask at; add --yes to confirm")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def print_items(
    items: Sequence[Item], columns: Sequence[str], cells: Callable[[Item], Cells], *, as_json: bool
) -> None:
    """Print items as JSON, or as a table with one row for each: `cells` returns the values of its columns."""
    if as_json:
        print(format_json(items))
    else:
        print_table(columns, [cells(item) for item in items])


def format_json(value: Any) -> str:
    """Format a value as indented JSON."""
    return json.format(json.encode(value)).decode()


def format_output(output: Any) -> str:
    """Format the output of a prediction: a text bare, anything else as JSON."""
    return output if isinstance(output, str) else format_json(output)


def print_table(columns: Sequence[str], rows: Sequence[Cells]) -> None:
    """Print a table on a terminal, or lines of tab-separated values in a pipe."""
    if not sys.stdout.isatty():
        for row in rows:
            print("\t".join(cell.replace("\t", " ").replace("\n", " ") for cell in _cell_texts(row)))
        return
    Console().print(render_table(columns, rows))


def render_table(columns: Sequence[str], rows: Sequence[Cells]) -> Table:
    """Build a table for rich to print."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, no_wrap=number == 0, overflow="fold")  # people copy what comes first
    for row in rows:
        table.add_row(*map(Text, _cell_texts(row)))  # as Text: an output with brackets is no markup
    return table


def _cell_texts(row: Cells) -> list[str]:
    return ["" if cell is None else str(cell) for cell in row]


class ChunkPrinter:
    """Prints chunks of an output as they arrive. When an attempt is repeated, it skips the chunks it has printed."""

    def __init__(self, *, is_text: bool, enabled: bool) -> None:
        self.enabled = enabled
        self._separator = "" if is_text else "\n"
        self._printed: list[str] = []
        self._position = 0

    def add(self, chunk: str) -> None:
        """Print the next chunk, unless an earlier attempt printed the same one."""
        if self._printed[self._position : self._position + 1] != [chunk]:
            if self._position < len(self._printed):
                print("\nsamovar: the model started over, and its output is different now:", file=sys.stderr)
            self._printed[self._position :] = [chunk]
            print(chunk, end=self._separator, flush=True)
        self._position += 1

    def restart(self) -> None:
        """Begin again at the first chunk, as the attempt is repeated."""
        self._position = 0

    def finish(self) -> None:
        """End the line of a text that was printed without a separator."""
        if self.enabled and not self._separator:
            print(flush=True)


def format_bytes(size: int) -> str:
    """Format a number of bytes in a decimal unit, such as `1.5 kB`."""
    number = float(size)
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"


def format_duration(seconds: float) -> str:
    """Format a duration in its largest unit, such as `2 h`."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:.0f} s"
