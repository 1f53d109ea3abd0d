"""Decorators that say something of a predictor's method and change nothing of it."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

STREAMING: Final = "__cog_streaming__"
CONCURRENCY: Final = "__cog_concurrency__"

F = TypeVar("F", bound=Callable[..., Any])


def streaming(method: F) -> F:
    """Its output is worth following while it grows."""
    setattr(method, STREAMING, True)
    return method


def concurrent(*, max: int = 1) -> Callable[[F], F]:
    """So many of its calls may run at once; more than one needs an async method."""
    if max < 1:
        raise ValueError(f"@concurrent(max={max}): it must be at least 1")

    def mark(method: F) -> F:
        setattr(method, CONCURRENCY, max)
        return method

    return mark
