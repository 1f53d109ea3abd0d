"""Messages of `samovar up` to the person who started it."""

import sys
from contextlib import suppress


def print_message(text: str) -> None:
    """Print a message on stderr, as stdout is for what a script may read.

    A terminal that has gone is no reason to stop, so errors of the output are ignored.
    """
    with suppress(OSError, ValueError):
        print(f"samovar: {text}", file=sys.stderr, flush=True)  # noqa: T201 - printing is its purpose
