"""Items that run together: who of them is still to be answered, their files, their clock."""

from collections.abc import Sequence
from time import perf_counter
from typing import Any, Final

from ..cog.scope import Scope
from ..cog.shares import Shares
from ..frames import Item
from ..io.scratch_files import Home, Temporaries


class Raised:
    """What user code raised, in the place of what it returned."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


STREAMED: Final = object()
"""In the place of an output that has been said chunk by chunk."""


class Turn:
    """A call into user code, and the smaller ones that follow when it fails."""

    def __init__(self, items: Sequence[Item], home: Home) -> None:
        self.shares = Shares()
        self.scope = Scope(self.shares)
        if items[0].context:
            self.scope.context = items[0].context
        self.temporaries = Temporaries(home)
        self.later: dict[str, Item] = {}
        """Those of smaller calls that are still to be made."""
        self.short = 0
        """The smallest call that ran out of memory."""
        self.went = 0
        """The largest that then did not; -1 once one alone did, as its size is to blame and not theirs."""
        self._began = perf_counter()
        self.seat(items)

    def seat(self, items: Sequence[Item]) -> None:
        """Those of the next call."""
        self.items = tuple(items)
        self.open = {item.id: item for item in items}
        """Those that were not answered."""
        self.said: set[str] = set()
        """Those that had a chunk."""

    def place(self, item: Item) -> int:
        return 0 if len(self.items) == 1 else self.items.index(item)

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self.open)

    def metrics(self) -> dict[str, Any]:
        """What no predictor says of itself."""
        return {"predict_time": round(perf_counter() - self._began, 6), "batch_size": len(self.items)}
