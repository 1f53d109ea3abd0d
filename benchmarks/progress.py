"""Shows the progress of a measurement: a changing line on a terminal, a line per step in a pipe."""

import re
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.text import Text

from benchmarks.measure import Progress

TRANSIENT_LINE: Final = re.compile(r": \d+ answers$")
"""A line that comes every second, which is too much for a log."""
LASTING_LINE: Final = re.compile(r"/s\b")
"""A line with the result of a repeat."""


@contextmanager
def show_progress() -> Generator[Progress]:
    """Yield a function that shows progress on stderr, so that results can go elsewhere."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield lambda line: None if TRANSIENT_LINE.search(line) else print(line, file=sys.stderr, flush=True)
        return
    # Each refresh takes time from what is measured.
    with console.status("", refresh_per_second=2) as status:

        def report(line: str) -> None:
            if LASTING_LINE.search(line):
                console.print(Text(line))
            else:
                status.update(Text(line))

        yield report
