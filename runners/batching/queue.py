"""Who waits for a worker, in the order in which they came."""

from collections import deque
from collections.abc import Hashable, Iterable, Iterator

from runners.batching.batch_key import Groups
from runners.batching.call import Call


class Line:
    def __init__(self) -> None:
        self._calls: deque[Call] = deque()
        self._groups = Groups({})

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[Call]:
        return iter(self._calls)

    @property
    def oldest(self) -> Call | None:
        return self._calls[0] if self._calls else None

    def regroup(self, groups: Groups) -> None:
        self._groups = groups
        for call in self._calls:
            call.group = groups.of(call.item.input)

    def join(self, call: Call) -> None:
        call.group = self._groups.of(call.item.input)
        self._calls.append(call)

    def rejoin(self, calls: Iterable[Call]) -> None:
        """Before all others: they were in front already."""
        self._calls.extendleft(reversed(list(calls)))

    def leave(self, calls: Iterable[Call]) -> None:
        for call in calls:
            self._calls.remove(call)

    def company(self, size: int, *, patient: bool) -> tuple[list[Call], bool]:
        """The oldest and those that may go with it, up to `size`, and whether nobody else can join them.

        While the oldest is patient, a group that is full goes before its own. Nobody overtakes who is to run alone.
        """
        groups: dict[Hashable, list[Call]] = {}
        own = groups[self._calls[0].group] = []
        for call in self._calls:
            if call.alone:
                return own or [call], True
            group = groups.setdefault(call.group, [])
            group.append(call)
            if len(group) == size and (patient or group is own):
                return group, True
        return own, False
