"""What belongs to the prediction that runs: its metrics, and the context that came with it."""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from .metrics import Metrics, Mode, Nowhere

__all__ = ["Mode", "Scope", "current_scope", "scoped"]


class Scope:
    def __init__(self, metrics: Metrics | None = None) -> None:
        self._metrics = Metrics() if metrics is None else metrics
        self.context: dict[str, str] = {}

    @property
    def metrics(self) -> Metrics:
        return self._metrics

    def record_metric(self, key: str, value: Any, mode: Mode | None = None) -> None:
        self._metrics.record(key, value, mode)

    def __repr__(self) -> str:
        return f"Scope({self._metrics!r})"


_current: Final[ContextVar[Scope]] = ContextVar("scope")
_entered: Final[list[Scope]] = []
"""Of this process: a thread that a predictor starts does not inherit the variable."""


def current_scope() -> Scope:
    """The scope of the prediction that runs; outside of one, a scope that nobody reads."""
    scope = _current.get(None)
    if scope is not None:
        return scope
    return _entered[0] if len(_entered) == 1 else Scope(Nowhere())


@contextmanager
def scoped(scope: Scope) -> Generator[None]:
    token = _current.set(scope)
    _entered.append(scope)
    try:
        yield
    finally:
        _entered.remove(scope)
        _current.reset(token)
