"""The metrics of a call: those of all its items, and those of each."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

from .metrics import Metrics

OwnLog = Callable[[int], AbstractContextManager[None]]
"""Makes a block in which what is printed belongs to the item with that index alone."""


class CallMetrics:
    """The metrics that user code records during a call."""

    def __init__(self, shared: Metrics | None = None) -> None:
        self.shared = Metrics() if shared is None else shared
        self.by_item = [self.shared]
        """Each item's own. They are the shared ones if there is only one item."""
        self.own_log: OwnLog = lambda _: nullcontext()

    def begin(self, count: int, own_log: OwnLog) -> None:
        """Start over for a call of `count` items: what was recorded in an earlier one counts no more."""
        self.shared = Metrics()
        self.by_item = [Metrics() for _ in range(count)] if count > 1 else [self.shared]
        self.own_log = own_log

    def of_item(self, index: int) -> dict[str, Any]:
        """Return an item's metrics. Where both have a name, the item's own counts."""
        own = self.by_item[index]
        return dict(own.items()) if own is self.shared else _merge(dict(own.items()), dict(self.shared.items()))


def _merge(own: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    both = [name for name in own if isinstance(own[name], dict) and isinstance(other.get(name), dict)]
    nested = {name: _merge(cast("dict[str, Any]", own[name]), cast("dict[str, Any]", other[name])) for name in both}
    return {**other, **own, **nested}
