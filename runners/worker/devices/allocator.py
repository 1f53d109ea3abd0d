"""The C library's allocator, where it is glibc's: what it keeps of what was freed."""

import contextlib
import ctypes
from typing import Final

_TRIM_THRESHOLD: Final = -1  # as malloc.h has them
_MMAP_THRESHOLD: Final = -3
_TENSOR: Final = 1 << 20
_LARGEST: Final = 32 << 20  # glibc's own limit, which it reaches by itself once something as large was freed


def give_back_large() -> None:
    """From here on what a tensor had goes to the system when it is freed.

    Otherwise the heap of a process that reads weights again and again grows until it holds all of them.
    """
    _set(_MMAP_THRESHOLD, _TENSOR)


def keep_large() -> None:
    """As glibc comes to do it if it is left alone: what is made again and again gets the same memory again.

    Fresh pages cost more than to fill them: a third of what a megabyte of output costs the gateway.
    """
    _set(_MMAP_THRESHOLD, _LARGEST)
    _set(_TRIM_THRESHOLD, 2 * _LARGEST)


def trim() -> None:
    """What is free goes to the system."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _set(option: int, value: int) -> None:
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).mallopt(option, value)
