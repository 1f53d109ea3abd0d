"""What belongs to the prediction that runs: its metrics, and the context that came with it."""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from .metrics import Metrics, Mode, Nowhere
from .shares import Shares

__all__ = ["Mode", "Scope", "current_scope", "scoped"]


class Scope:
    def __init__(self, shares: Shares | None = None) -> None:
        self._shares = shares or Shares()
        self.context: dict[str, str] = {}

    @property
    def metrics(self) -> Metrics:
        inside = _inside.get()
        return inside[1] if inside is not None and inside[0] is self else self._shares.all

    def record_metric(self, key: str, value: Any, mode: Mode | None = None) -> None:
        self.metrics.record(key, value, mode)

    @contextmanager
    def item(self, index: int) -> Generator["Scope"]:
        """What is printed and recorded in here is one input's of the batch alone. Outside of a batch there is one."""
        many = len(self._shares.each)
        if not 0 <= index < many:
            raise IndexError(f"item {index}: there {'are' if many > 1 else 'is'} {many}, counted from 0")
        # By value and not by token: a generator that yields in here may be closed in another context.
        before = _inside.get()
        _inside.set((self, self._shares.each[index]))
        try:
            with self._shares.alone(index):
                yield self
        finally:
            _inside.set(before)

    def __repr__(self) -> str:
        return f"Scope({self.metrics!r})"


_inside: Final[ContextVar[tuple[Scope, Metrics] | None]] = ContextVar("inside", default=None)
_current: Final[ContextVar[Scope]] = ContextVar("scope")
_entered: Final[list[Scope]] = []
"""Of this process: a thread that a predictor starts does not inherit the variable."""


def current_scope() -> Scope:
    """The scope of the prediction that runs; outside of one, a scope that nobody reads."""
    scope = _current.get(None)
    if scope is not None:
        return scope
    return _entered[0] if len(_entered) == 1 else Scope(Shares(Nowhere()))


@contextmanager
def scoped(scope: Scope) -> Generator[None]:
    token = _current.set(scope)
    _entered.append(scope)
    try:
        yield
    finally:
        _entered.remove(scope)
        _current.reset(token)
