"""How far a measurement is: a line that changes on a terminal, a line per step in a pipe."""

import re
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.text import Text

from benchmarks.measure import Progress

PASSING: Final = re.compile(r": \d+ answers$")
"""Said every second, which is too much for a log."""
LASTING: Final = re.compile(r"/s\b")
"""What a repeat came to."""


@contextmanager
def shown() -> Generator[Progress]:
    """On stderr, so that what is measured can go elsewhere."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield lambda told: None if PASSING.search(told) else print(told, file=sys.stderr, flush=True)
        return
    # Each frame takes time from what is measured.
    with console.status("", refresh_per_second=2) as status:

        def say(told: str) -> None:
            if LASTING.search(told):
                console.print(Text(told))
            else:
                status.update(Text(told))

        yield say
