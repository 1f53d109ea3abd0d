"""A call into user code for items that run together: which are still to be answered, their files, their clock."""

from collections.abc import Sequence
from time import perf_counter
from typing import Any, Final

from ..cog.call_metrics import CallMetrics
from ..cog.scope import Scope
from ..frames import Item
from ..io.scratch_files import ScratchFiles, ScratchFolder


class Failure:
    """An error that user code raised, in the place of a result."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


STREAMED: Final = object()
"""Stands in the place of an output that has been sent chunk by chunk."""


class Call:
    """A call into user code, and the smaller ones that follow when it fails.

    `Responder` opens it, and the loops, `Responder` and `BatchResponder` answer its items.
    """

    def __init__(self, items: Sequence[Item], folder: ScratchFolder) -> None:
        self.metrics = CallMetrics()
        self.scope = Scope(self.metrics)
        if items[0].context:
            self.scope.context = items[0].context
        self.scratch = ScratchFiles(folder)
        self.queued: dict[str, Item] = {}
        """The items of smaller calls that are still to be made."""
        self.failed_size = 0
        """The size of the smallest call that ran out of memory."""
        self.passed_size = 0
        """The size of the largest call that then did not.

        It is -1 once an item ran out of memory alone: its own size is to blame, and not how many they were.
        """
        self._started = perf_counter()
        self.begin(items)

    def begin(self, items: Sequence[Item]) -> None:
        """Make these the items of the next call into user code."""
        self.items = tuple(items)
        self.unanswered = {item.id: item for item in items}
        self.streamed_ids: set[str] = set()
        """The items of which a chunk was sent."""

    def index(self, item: Item) -> int:
        """Return the item's place in the batch."""
        return 0 if len(self.items) == 1 else self.items.index(item)

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the unanswered items."""
        return tuple(self.unanswered)

    def measured_metrics(self) -> dict[str, Any]:
        """Return the metrics that the worker measures itself."""
        return {"predict_time": round(perf_counter() - self._started, 6), "batch_size": len(self.items)}
