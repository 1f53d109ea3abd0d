"""Settings of glibc's allocator for servers: they keep the memory that they free. Other C libraries ignore them."""

import contextlib
import ctypes
from typing import Final

# A worker sets the same in runners/worker/devices/allocator.py, which can import nothing of ours.
TRIM_THRESHOLD: Final = -1  # as malloc.h has them
MMAP_THRESHOLD: Final = -3
MAX_THRESHOLD_BYTES: Final = 32 << 20  # glibc's own limit, which it reaches by itself once something as large was freed


def keep_large_blocks() -> None:
    """Keep freed memory for the next allocation, as glibc comes to do if it is left alone.

    Fresh pages cost more than to fill them: a third of what a megabyte of output costs the gateway.
    """
    with contextlib.suppress(AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(MMAP_THRESHOLD, MAX_THRESHOLD_BYTES)
        mallopt(TRIM_THRESHOLD, 2 * MAX_THRESHOLD_BYTES)
