"""The scope of a running prediction: its metrics, and the context that came with it."""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from .call_metrics import CallMetrics
from .metrics import DiscardedMetrics, Metrics, Mode

__all__ = ["Mode", "Scope", "current_scope", "scoped"]


class Scope:
    """The scope of a prediction, or of a batch of them, that user code gets from `current_scope()`."""

    def __init__(self, metrics: CallMetrics | None = None) -> None:
        self._call_metrics = metrics or CallMetrics()
        self.context: dict[str, str] = {}

    @property
    def metrics(self) -> Metrics:
        """The metrics of the batch, or within `item` those of one input."""
        entered = _entered_item.get()
        return entered[1] if entered is not None and entered[0] is self else self._call_metrics.shared

    def record_metric(self, key: str, value: Any, mode: Mode | None = None) -> None:
        """Record a metric. `mode` is one of replace, incr and append."""
        self.metrics.record(key, value, mode)

    @contextmanager
    def item(self, index: int) -> Generator["Scope"]:
        """Give what is printed and recorded within the block to one input of the batch. Outside of one there is one."""
        count = len(self._call_metrics.by_item)
        if not 0 <= index < count:
            raise IndexError(f"item {index}: there {'are' if count > 1 else 'is'} {count}, counted from 0")
        # By value and not by token: a generator that yields in here may be closed in another context.
        before = _entered_item.get()
        _entered_item.set((self, self._call_metrics.by_item[index]))
        try:
            with self._call_metrics.own_log(index):
                yield self
        finally:
            _entered_item.set(before)

    def __repr__(self) -> str:
        return f"Scope({self.metrics!r})"


_entered_item: Final[ContextVar[tuple[Scope, Metrics] | None]] = ContextVar("entered_item", default=None)
_current: Final[ContextVar[Scope]] = ContextVar("scope")
_open_scopes: Final[list[Scope]] = []
"""All open scopes of this process: a thread that a predictor starts does not inherit the variable."""


def current_scope() -> Scope:
    """Return the scope of the prediction that runs; outside of one, a scope that nobody reads."""
    scope = _current.get(None)
    if scope is not None:
        return scope
    return _open_scopes[0] if len(_open_scopes) == 1 else Scope(CallMetrics(DiscardedMetrics()))


@contextmanager
def scoped(scope: Scope) -> Generator[None]:
    """Make a scope the current one within the block."""
    token = _current.set(scope)
    _open_scopes.append(scope)
    try:
        yield
    finally:
        _open_scopes.remove(scope)
        _current.reset(token)
