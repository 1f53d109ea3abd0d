"""Subscriptions to a prediction: whoever waits for its events, and for how long."""

import asyncio
from typing import Protocol

from schemas.events import Event


class Shutdown(Exception):
    """The gateway is about to stop: clients continue at another one."""


class Subscriber:
    """Somebody who waits for the events of one prediction."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._has_gap = False
        self._is_notified = False
        self._is_closed = False
        self._wakeup: asyncio.Future[None] | None = None

    async def next_events(self) -> list[Event] | None:
        """Wait for the events since the last call; None: some may have been missed.

        The list is empty if the subscriber was only notified. Raises `Shutdown`.
        """
        while not self._events and not self._has_gap and not self._is_notified:
            if self._is_closed:
                raise Shutdown
            self._wakeup = asyncio.get_running_loop().create_future()
            try:
                await self._wakeup
            finally:
                self._wakeup = None
        self._is_notified = False
        if self._has_gap:
            self._has_gap = False
            self._events.clear()
            return None
        events, self._events = self._events, []
        return events

    def deliver(self, event: Event) -> None:
        """Hand over an event of the prediction."""
        self._events.append(event)
        self._wake()

    def note_gap(self) -> None:
        """Report that events may have been missed."""
        self._has_gap = True
        self._wake()

    def notify(self) -> None:
        """Report a change of something else that the subscriber shows with the prediction."""
        self._is_notified = True
        self._wake()

    def close(self) -> None:
        """End the wait with `Shutdown`, once all that was delivered has been read."""
        self._is_closed = True
        self._wake()

    def _wake(self) -> None:
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)


class EventSource(Protocol):
    """The owner of subscriptions."""

    def unsubscribe(self, id: str, subscriber: Subscriber) -> None: ...


class Subscription:
    """A subscriber in its place for as long as the block goes on."""

    __slots__ = ("_id", "_source", "_subscriber")

    def __init__(self, source: EventSource, id: str, subscriber: Subscriber) -> None:
        self._source = source
        self._id = id
        self._subscriber = subscriber

    def __enter__(self) -> Subscriber:
        return self._subscriber

    def __exit__(self, *_: object) -> None:
        self._source.unsubscribe(self._id, self._subscriber)
