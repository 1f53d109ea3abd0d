"""What `up` tells the person in front of it."""

import sys
from contextlib import suppress


def say(text: str) -> None:
    """On stderr, as stdout is for what a script may want to read. A terminal that has gone is no reason to stop."""
    with suppress(OSError, ValueError):
        print(f"samovar: {text}", file=sys.stderr, flush=True)  # noqa: T201 - this is what it is for
