"""`suppress_output`: silence, also for native code."""

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def suppress_output() -> Generator[None]:
    """Discard what is printed within the block."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    copies = [(fd, os.dup(fd)) for fd in (1, 2)]
    devnull = os.open(os.devnull, os.O_WRONLY)
    try:
        for fd, _ in copies:
            os.dup2(devnull, fd)
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        for fd, copy in copies:
            os.dup2(copy, fd)
            os.close(copy)
        os.close(devnull)
