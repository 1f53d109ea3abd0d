"""The agent's requests: runs and parking in order, stops, and healthchecks."""

from collections import deque
from collections.abc import Iterable
from typing import Protocol

from ..frames import Check, Item, Park, Run, Stop, ToWorker


class FrameSource(Protocol):
    """A receiver of frames from the agent."""

    def receive(self, *, wait: bool) -> list[ToWorker]: ...


class RequestQueue:
    """The requests that have arrived, and which items the agent has asked to stop.

    The loops take requests from it; `Responder` asks it who is still waiting, and forgets items that are answered.
    """

    def __init__(self, source: FrameSource) -> None:
        self._source = source
        self._requests: deque[Run | Park] = deque()
        self._checks = 0
        self._open_ids: set[str] = set()
        self._stopped_ids: set[str] = set()

    def wait(self) -> Run | Park | None:
        """Wait for the next request and return it, or None if a healthcheck is asked for."""
        while not self._requests and not self._checks:
            self._accept(self._source.receive(wait=True))
        return None if self._checks else self._requests.popleft()

    def receive(self) -> None:
        """Take in what has arrived, without waiting."""
        while frames := self._source.receive(wait=False):
            self._accept(frames)

    def next(self, *, is_idle: bool = True) -> Run | Park | None:
        """Return the next request if it can be started now.

        Parking waits until nothing runs, and what comes after it waits for it.
        """
        if not self._requests or (isinstance(self._requests[0], Park) and not is_idle):
            return None
        return self._requests.popleft()

    def take_checks(self) -> int:
        """Return how many healthchecks were asked for since the last time."""
        checks, self._checks = self._checks, 0
        return checks

    def is_stopped(self, id: str) -> bool:
        """Return whether the agent has asked to stop the item."""
        return id in self._stopped_ids

    def remove_stopped(self) -> list[str]:
        """Remove items that are to be stopped from requests that have not begun, and return their ids."""
        removed = [item.id for request in self._requests for item in _items(request) if item.id in self._stopped_ids]
        if removed:
            remaining = [self._without_stopped(request) for request in self._requests]
            self._requests = deque(request for request in remaining if isinstance(request, Park) or request.items)
        return removed

    def forget(self, ids: Iterable[str]) -> None:
        """Forget items that are answered; a stop that comes too late is forgotten with them."""
        self._open_ids.difference_update(ids)
        self._stopped_ids.difference_update(ids)

    def _without_stopped(self, request: Run | Park) -> Run | Park:
        if isinstance(request, Park):
            return request
        return Run([item for item in request.items if item.id not in self._stopped_ids])

    def _accept(self, frames: list[ToWorker]) -> None:
        for frame in frames:
            match frame:
                case Run(items=items):
                    self._requests.append(frame)
                    self._open_ids.update(item.id for item in items)
                case Stop(ids=ids):
                    self._stopped_ids.update(self._open_ids.intersection(ids))
                case Check():
                    self._checks += 1
                case Park():
                    self._requests.append(frame)


def _items(request: Run | Park) -> list[Item]:
    return [] if isinstance(request, Park) else request.items
