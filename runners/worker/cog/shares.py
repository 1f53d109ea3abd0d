"""The numbers of a call: those of all its items, and those of each."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

from .metrics import Metrics

Alone = Callable[[int], AbstractContextManager[None]]
"""While in it, what is printed is one item's alone."""


class Shares:
    def __init__(self, all: Metrics | None = None) -> None:
        self.all = Metrics() if all is None else all
        self.each = [self.all]
        """Of one that has no company they are the same."""
        self.alone: Alone = lambda _: nullcontext()

    def renew(self, many: int, alone: Alone) -> None:
        """A call for so many begins: what was recorded in an earlier one counts no more."""
        self.all = Metrics()
        self.each = [Metrics() for _ in range(many)] if many > 1 else [self.all]
        self.alone = alone

    def of(self, index: int) -> dict[str, Any]:
        """Where both have a name, the item's own counts."""
        own = self.each[index]
        return dict(own.items()) if own is self.all else _over(dict(own.items()), dict(self.all.items()))


def _over(own: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    both = [name for name in own if isinstance(own[name], dict) and isinstance(other.get(name), dict)]
    nested = {name: _over(cast("dict[str, Any]", own[name]), cast("dict[str, Any]", other[name])) for name in both}
    return {**other, **own, **nested}
