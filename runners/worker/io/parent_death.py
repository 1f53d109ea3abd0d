"""A worker does not outlive its agent, nor do the processes that it started."""

import contextlib
import ctypes
import os
import signal
import sys
from typing import Final, NoReturn

_PR_SET_PDEATHSIG: Final = 1


def die_with_parent() -> None:
    """A second net, where the system has it: the first is the end of the socket."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def perish() -> NoReturn:
    """End at once, with the whole process group where it is our own."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
