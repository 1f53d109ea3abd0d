"""Settings of glibc's allocator: what becomes of memory that was freed. Other C libraries ignore them."""

import contextlib
import ctypes
from typing import Final

_TRIM_THRESHOLD: Final = -1  # as malloc.h has them
_MMAP_THRESHOLD: Final = -3
_TENSOR_BYTES: Final = 1 << 20
_MAX_THRESHOLD_BYTES: Final = (
    32 << 20
)  # glibc's own limit, which it reaches by itself once something as large was freed


def return_large_blocks() -> None:
    """Return the memory of tensors to the system as soon as they are freed.

    Otherwise the heap of a process that reads weights again and again grows until it holds all of them.
    """
    _set(_MMAP_THRESHOLD, _TENSOR_BYTES)


def keep_large_blocks() -> None:
    """Keep freed memory for the next allocation, as glibc comes to do if it is left alone.

    Fresh pages cost more than to fill them: a third of what a megabyte of output costs the gateway.
    """
    _set(_MMAP_THRESHOLD, _MAX_THRESHOLD_BYTES)
    _set(_TRIM_THRESHOLD, 2 * _MAX_THRESHOLD_BYTES)


def trim() -> None:
    """Return all free memory to the system now."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _set(option: int, value: int) -> None:
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).mallopt(option, value)
