"""Silence, also of native code."""

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def suppress_output() -> Generator[None]:
    """What is printed inside goes nowhere."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    kept = [(fd, os.dup(fd)) for fd in (1, 2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for fd, _ in kept:
            os.dup2(nowhere, fd)
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        for fd, copy in kept:
            os.dup2(copy, fd)
            os.close(copy)
        os.close(nowhere)
