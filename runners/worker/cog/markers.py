"""Decorators that mark a predictor's method and do not change what it does."""

import inspect
from collections.abc import Callable
from typing import Any, Final, TypeVar, overload

STREAMING: Final = "__cog_streaming__"
CONCURRENCY: Final = "__cog_concurrent_max__"

F = TypeVar("F", bound=Callable[..., Any])


@overload
def streaming(fn: F) -> F: ...
@overload
def streaming(fn: None = None) -> Callable[[F], F]: ...
def streaming(fn: F | None = None) -> F | Callable[[F], F]:
    """Mark a method whose output is worth following while it grows. With parentheses or without."""

    def mark(method: F) -> F:
        setattr(method, STREAMING, True)
        return method

    return mark if fn is None else mark(fn)


@overload
def concurrent(fn: F) -> F: ...
@overload
def concurrent(fn: None = None, *, max: int = 1) -> Callable[[F], F]: ...
def concurrent(fn: F | None = None, *, max: int = 1) -> F | Callable[[F], F]:
    """Mark a method of which up to `max` calls may run at once. More than one needs an async method."""
    if isinstance(max, bool) or not isinstance(max, int):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"@concurrent(max={max!r}): it must be an integer")
    if max < 1:
        raise ValueError(f"@concurrent(max={max}): it must be at least 1")

    def mark(method: F) -> F:
        if max > 1 and not (inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method)):
            raise TypeError(
                f"@concurrent(max={max}): {getattr(method, '__name__', method)} is not async, and only async "
                "functions run several calls at once; write `async def`, or remove the decorator"
            )
        setattr(method, CONCURRENCY, max)
        return method

    if fn is None:
        return mark
    if not callable(fn):
        raise TypeError(f"@concurrent({fn!r}): write @concurrent(max={fn!r})")
    return mark(fn)
