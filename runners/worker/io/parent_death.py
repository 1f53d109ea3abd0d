"""The end of a worker whose agent is gone, together with the processes that it started."""

import contextlib
import ctypes
import os
import signal
import sys
from typing import Final, NoReturn

_PR_SET_PDEATHSIG: Final = 1


def die_with_parent() -> None:
    """Ask the system to kill this process when its parent dies, where it can.

    This is a second net: the first is the end of the agent's socket.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def kill_own_group() -> NoReturn:
    """End at once, with the whole process group if this process leads it."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
