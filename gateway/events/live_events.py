"""The events of predictions as the broker stores them, delivered to those who subscribed."""

import asyncio
from contextlib import suppress
from typing import Final, Protocol

from nats.aio.subscription import Subscription as NatsSubscription
from nats.errors import Error as NatsError

from bus.client import Client, Message
from gateway import metrics
from gateway.events.in_flight import InFlight
from gateway.events.subscriptions import Subscriber, Subscription
from schemas import events, subjects
from schemas.events import Final as FinalEvent

NO_PREDICTION: Final = ""  # the id of none
FLUSH_SECONDS: Final = 2


class FinalRecorder(Protocol):
    """The recorder of final events that no subscriber gets."""

    def record_soon(self, event: FinalEvent) -> object: ...


class LiveEvents:
    """The live events of predictions, used by all who subscribe to one.

    It owns the gateway's subscriptions to the broker: one for all of its own predictions, and one for each prediction
    of another gateway that somebody follows. It reports every event to `InFlight`, which has the subscribers, and final
    events of its own predictions to the recorder, unless a subscriber gets them: that one records what it shows.
    """

    def __init__(self, client: Client, in_flight: InFlight, recorder: FinalRecorder) -> None:
        self._client = client
        self._in_flight = in_flight
        self._recorder = recorder
        self._foreign: dict[str, asyncio.Task[NatsSubscription]] = {}

    async def start(self) -> None:
        """Subscribe to the events of the gateway's own predictions."""
        await self._listen(subjects.live_of_tag(self._in_flight.tag))

    def subscribe(self, id: str) -> Subscription:
        """Subscribe to a prediction.

        Events of another gateway's prediction arrive from a moment later: the subscriber is told of a gap then.
        """
        subscriber = self._in_flight.add_subscriber(id)
        if subjects.tag(id) != self._in_flight.tag and id not in self._foreign:
            self._foreign[id] = asyncio.create_task(self._listen_to_foreign(id))
        return Subscription(self, id, subscriber)

    def subscribe_detached(self) -> Subscription:
        """Subscribe to no prediction: the subscriber is woken by others, and when the gateway stops."""
        return Subscription(self, NO_PREDICTION, self._in_flight.add_subscriber(NO_PREDICTION))

    def unsubscribe(self, id: str, subscriber: Subscriber) -> None:
        """Remove a subscriber; the last one of another gateway's prediction ends the subscription to it."""
        is_last = self._in_flight.remove_subscriber(id, subscriber)
        if is_last and (task := self._foreign.pop(id, None)):
            task.add_done_callback(_unsubscribe)

    def note_gap(self) -> None:
        """Have all subscribers read again what they follow: events may have been missed."""
        self._in_flight.note_gap()

    @property
    def is_closing(self) -> bool:
        """Whether the gateway is about to stop."""
        return self._in_flight.is_closing

    def close(self) -> None:
        """End the wait of all subscribers: the gateway is about to stop."""
        self._in_flight.close()

    async def _listen(self, subject: str) -> NatsSubscription:
        return await self._client.listen(subject, self._receive)

    async def _listen_to_foreign(self, id: str) -> NatsSubscription:
        subscription = await self._listen(subjects.live_of(id))
        with suppress(NatsError, OSError, TimeoutError):
            await self._client.flush(FLUSH_SECONDS)
        self._in_flight.note_gap(id)
        return subscription

    def _receive(self, message: Message) -> None:
        _, tag, id, kind = message.subject.split(".")  # see `subjects.live_of`; a call would cost as much again
        subscribers = self._in_flight.note_event(id, kind)
        if not subscribers and kind != "final":
            return
        event = events.decode(message.data)
        if kind == "final" and tag == self._in_flight.tag and isinstance(event, FinalEvent):
            metrics.observe_final(event)
            self._in_flight.note_final(id)
            if not subscribers:
                self._recorder.record_soon(event)
        for subscriber in subscribers:
            subscriber.deliver(event)


def _unsubscribe(task: asyncio.Task[NatsSubscription]) -> None:
    if not task.cancelled() and task.exception() is None:
        asyncio.ensure_future(_unsubscribe_now(task.result()))  # noqa: RUF006  nobody waits for it


async def _unsubscribe_now(subscription: NatsSubscription) -> None:
    with suppress(NatsError, OSError):
        await subscription.unsubscribe()
