"""What the agent wants: runs and parking in order, the wish to stop some of them, and whether all is well."""

from collections import deque
from collections.abc import Iterable
from typing import Protocol

from ..frames import Check, Item, Park, Run, Stop, ToWorker


class Source(Protocol):
    def receive(self, *, wait: bool) -> list[ToWorker]: ...


class Inbox:
    def __init__(self, source: Source) -> None:
        self._source = source
        self._runs: deque[Run | Park] = deque()
        self._asked = 0
        self._held: set[str] = set()
        self._unwanted: set[str] = set()

    def wait(self) -> Run | Park | None:
        """The next run; blocks until there is one. None: something else is asked."""
        while not self._runs and not self._asked:
            self._take(self._source.receive(wait=True))
        return None if self._asked else self._runs.popleft()

    def look(self) -> None:
        """Take in what lies there."""
        while frames := self._source.receive(wait=False):
            self._take(frames)

    def next(self, *, idle: bool = True) -> Run | Park | None:
        """Parking is for when nothing runs, and what comes after it waits for it."""
        if not self._runs or (isinstance(self._runs[0], Park) and not idle):
            return None
        return self._runs.popleft()

    def asked(self) -> int:
        """How many times it has been asked since whether all is well."""
        asked, self._asked = self._asked, 0
        return asked

    def unwanted(self, id: str) -> bool:
        return id in self._unwanted

    def withdrawn(self) -> list[str]:
        """Those in line that nobody wants any more: they are in line no longer."""
        gone = [item.id for run in self._runs for item in _items(run) if item.id in self._unwanted]
        if gone:
            left = [self._wanted(run) for run in self._runs]
            self._runs = deque(run for run in left if isinstance(run, Park) or run.items)
        return gone

    def _wanted(self, run: Run | Park) -> Run | Park:
        return run if isinstance(run, Park) else Run([item for item in run.items if item.id not in self._unwanted])

    def settle(self, ids: Iterable[str]) -> None:
        """These are answered; a wish that comes too late is forgotten with them."""
        self._held.difference_update(ids)
        self._unwanted.difference_update(ids)

    def _take(self, frames: list[ToWorker]) -> None:
        for frame in frames:
            match frame:
                case Run(items=items):
                    self._runs.append(frame)
                    self._held.update(item.id for item in items)
                case Stop(ids=ids):
                    self._unwanted.update(self._held.intersection(ids))
                case Check():
                    self._asked += 1
                case Park():
                    self._runs.append(frame)


def _items(run: Run | Park) -> list[Item]:
    return [] if isinstance(run, Park) else run.items
