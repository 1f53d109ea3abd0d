"""A prediction as it stands and as it goes on: the record first, then the events since."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Final, Protocol

import structlog

from gateway.broker import BrokerError
from gateway.errors import FileStoreUnavailable, Unavailable
from gateway.events.in_flight import InFlight
from gateway.events.large_values import LargeValues, has_stored_values
from gateway.events.live_events import LiveEvents
from gateway.events.subscriptions import Shutdown, Subscriber, Subscription
from schemas.events import Event
from schemas.events import Final as FinalEvent
from schemas.prediction import FINAL, EventGap, Prediction, advance, replay

log = structlog.get_logger("samovar.follower")

RETRY_SECONDS: Final = 0.25  # until a broker or a database that did not answer is asked again


class PredictionStore(Protocol):
    """The rows of predictions."""

    async def get(self, id: str, account: int | None = None) -> Prediction | None: ...


class EventReader(Protocol):
    """The stored events of predictions."""

    async def read_events(self, id: str) -> list[Event]: ...


class OutcomeRecorder(Protocol):
    """The writer of outcomes, which sees to it that one that somebody is shown stays true."""

    def record_outcome(self, p: Prediction) -> None: ...


ChangeSource = Callable[[Callable[[], None]], AbstractContextManager[None]]
"""Takes a function, and calls it on each change of something that is shown with a prediction but is no part of it."""


class Follower:
    """The reader of predictions, for every route, stream, wait and webhook.

    It adds the events since to what the record has, so that what anyone has been shown can be read, and has every
    outcome recorded before it shows it.
    """

    def __init__(
        self,
        store: PredictionStore,
        event_reader: EventReader,
        in_flight: InFlight,
        live: LiveEvents,
        recorder: OutcomeRecorder,
        large_values: LargeValues,
    ) -> None:
        self._store = store
        self._event_reader = event_reader
        self._in_flight = in_flight
        self._live = live
        self._recorder = recorder
        self._large_values = large_values

    async def read(self, id: str, account: int | None = None) -> Prediction | None:
        """Read a prediction as it stands now. With an account, another account's prediction counts as missing."""
        p = self._in_flight.outcome(id)
        if p is None or account not in {None, p.account}:
            p = await self._store.get(id, account)
        return await self._catch_up(p) if p is not None else None

    async def read_page(self, ps: list[Prediction]) -> list[Prediction]:
        """Bring the rows of a list up to date; most of them have ended."""
        page = [self._in_flight.outcome(p.id) or p for p in ps]
        unfinished = [index for index, p in enumerate(page) if p.status not in FINAL]
        current = await asyncio.gather(*(self._catch_up(page[index]) for index in unfinished))
        for index, p in zip(unfinished, current, strict=True):
            page[index] = p
        return page

    async def watch(self, id: str, changes: ChangeSource | None = None) -> AsyncGenerator[Prediction]:
        """Yield every state from now on, up to the final one, and the same state again on each of `changes`.

        Ends at once for a prediction that does not exist. Raises `Shutdown`.
        """
        with self._live.subscribe(id) as subscriber, changes(subscriber.notify) if changes else nullcontext():
            p = await self._read_persistently(id)
            while p is not None:
                yield p
                if p.status in FINAL:
                    return
                p = await self._next_state(p, subscriber)

    def subscribe(self, id: str) -> Subscription:
        """Subscribe to a prediction that is about to be submitted, so that `wait_for_outcome` misses nothing."""
        return self._live.subscribe(id)

    async def wait_for_outcome(self, p: Prediction, subscriber: Subscriber) -> Prediction:
        """Wait for the final state of a prediction that was just submitted. Raises `Shutdown`."""
        while p.status not in FINAL:
            p = await self._next_state(p, subscriber) or p
        return p

    async def _next_state(self, p: Prediction, subscriber: Subscriber) -> Prediction | None:
        events = await subscriber.next_events()
        if events is None:
            return await self._read_persistently(p.id)
        try:
            if any(map(has_stored_values, events)):
                events = await self._large_values.restore(events)
            for event in events:
                p = advance(p, event)
        except (EventGap, FileStoreUnavailable):
            return await self._read_persistently(p.id)
        return self._record_if_final(p)

    async def _read_persistently(self, id: str) -> Prediction | None:
        """Read like `read`, but wait for a database or a broker that is away: a stream must never go back.

        Raises `Shutdown` rather than wait on when the gateway is about to stop.
        """
        while True:
            try:
                p = self._in_flight.outcome(id) or await self._store.get(id)
                if p is None or p.status in FINAL:
                    return p
                return self._record_if_final(replay_known(p, await self._read_events(id)))
            except (BrokerError, Unavailable, FileStoreUnavailable) as error:
                log.debug("history_not_read", id=id, error=str(error))
                if self._live.is_closing:
                    raise Shutdown from error
                await asyncio.sleep(RETRY_SECONDS)

    async def _catch_up(self, p: Prediction) -> Prediction:
        p = self._in_flight.outcome(p.id) or p
        if p.status in FINAL:
            return p
        try:
            return self._record_if_final(replay_known(p, await self._read_events(p.id)))
        except (BrokerError, FileStoreUnavailable):
            # An outcome that somebody was shown may have come into the record since we looked there.
            return await self._store.get(p.id) or p

    async def _read_events(self, id: str) -> list[Event]:
        """Read the events of a prediction, without those whose values are gone: what counts on them is not believed."""
        events = await self._event_reader.read_events(id)
        try:
            return await self._large_values.restore(events)
        except EventGap:
            return [event for event in events if not has_stored_values(event)]

    def _record_if_final(self, p: Prediction) -> Prediction:
        if p.status in FINAL:
            self._recorder.record_outcome(p)
        return p


def replay_known(p: Prediction, events: list[Event]) -> Prediction:
    """Advance a prediction by the events, but not by a final one that counts on others which are missing.

    The recorder has such a run started over.
    """
    try:
        return replay(p, events)
    except EventGap:
        with suppress(EventGap):
            return replay(p, [event for event in events if not isinstance(event, FinalEvent)])
        return p
