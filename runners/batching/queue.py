"""The queue of calls that wait for a worker, in the order in which they came."""

from collections import deque
from collections.abc import Hashable, Iterable, Iterator

from runners.batching.batch_key import BatchKeys
from runners.batching.call import Call


class CallQueue:
    """The calls that a batcher has not sent yet, oldest first."""

    def __init__(self) -> None:
        self._calls: deque[Call] = deque()
        self._batch_keys = BatchKeys({})

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[Call]:
        return iter(self._calls)

    @property
    def oldest(self) -> Call | None:
        """The call that has waited longest."""
        return self._calls[0] if self._calls else None

    def set_batch_keys(self, batch_keys: BatchKeys) -> None:
        """Use other batch keys, for the calls in the queue, too."""
        self._batch_keys = batch_keys
        for call in self._calls:
            call.batch_key = batch_keys.key_of(call.item.input)

    def append(self, call: Call) -> None:
        """Add a call at the end."""
        call.batch_key = self._batch_keys.key_of(call.item.input)
        self._calls.append(call)

    def put_back(self, calls: Iterable[Call]) -> None:
        """Put calls back in front of all others, in their order."""
        self._calls.extendleft(reversed(list(calls)))

    def remove(self, calls: Iterable[Call]) -> None:
        """Remove calls, wherever they are in the queue."""
        for call in calls:
            self._calls.remove(call)

    def next_batch(self, size: int, *, can_wait: bool) -> tuple[list[Call], bool]:
        """Return the oldest call and up to `size` with its batch key, and whether no other call can join them.

        While the oldest call can wait, a full batch with another key goes first. No call overtakes one that runs alone.
        """
        batches: dict[Hashable, list[Call]] = {}
        own = batches[self._calls[0].batch_key] = []
        for call in self._calls:
            if call.runs_alone:
                return own or [call], True
            batch = batches.setdefault(call.batch_key, [])
            batch.append(call)
            if len(batch) == size and (can_wait or batch is own):
                return batch, True
        return own, False
