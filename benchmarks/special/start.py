"""`samovar up` on a data directory that was used before, until it is ready."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.samples import Figure
from benchmarks.special.terms import Terms, figure
from benchmarks.stack import Stack, is_ready

NAME: Final = "second start"
LIMIT: Final = 120.0


def second_start(terms: Terms) -> Iterator[Figure]:
    base = Path(tempfile.mkdtemp(prefix="samovar-start-"))
    base.chmod(0o755)  # as root, PostgreSQL runs as another user, who must get to its files
    stack = Stack(base)
    try:
        first, *others = [started(stack) for _ in range(terms.repeats + 1)]
    finally:
        stack.stop()
        shutil.rmtree(base, ignore_errors=True)
    yield figure(NAME, "s", others, first=first)


def started(stack: Stack) -> float:
    """Seconds until `/readyz` says 200; stopped again after that."""
    began = time.perf_counter()
    stack.start()
    while not is_ready(stack.url):
        assert time.perf_counter() - began < LIMIT, stack.last_words()
        time.sleep(0.01)
    took = time.perf_counter() - began
    stack.stop()
    return took
