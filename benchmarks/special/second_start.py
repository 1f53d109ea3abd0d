"""The second start: `samovar up` on a used data directory, until it is ready."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.samples import Figure
from benchmarks.special.options import RowOptions, create_figure
from benchmarks.stack import Stack, is_ready

NAME: Final = "second start"
LIMIT: Final = 120.0


def second_start(options: RowOptions) -> Iterator[Figure]:
    """Measure starts on a used data directory."""
    base = Path(tempfile.mkdtemp(prefix="samovar-start-"))
    base.chmod(0o755)  # as root, PostgreSQL runs as another user, who must get to its files
    stack = Stack(base)
    try:
        first, *others = [start_seconds(stack) for _ in range(options.repeats + 1)]
    finally:
        stack.stop()
        shutil.rmtree(base, ignore_errors=True)
    yield create_figure(NAME, "s", others, first=first)


def start_seconds(stack: Stack) -> float:
    """Start the stack, return the seconds until `/readyz` says 200, and stop it."""
    began = time.perf_counter()
    stack.start()
    while not is_ready(stack.url):
        assert time.perf_counter() - began < LIMIT, stack.last_words()
        time.sleep(0.01)
    seconds = time.perf_counter() - began
    stack.stop()
    return seconds
