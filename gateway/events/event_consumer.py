"""The durable consumer of events: what no gateway heard live still reaches the record."""

import asyncio
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final, Protocol

import structlog
from msgspec import DecodeError, json
from nats.errors import Error as NatsError

from bus import jetstream
from bus.client import Client, Message
from bus.jetstream import PullRequest
from gateway.broker import TIMEOUT_SECONDS, Broker, BrokerError
from gateway.errors import FileStoreUnavailable, Unavailable
from gateway.events.in_flight import InFlight
from gateway.events.recorder import Recorder
from schemas import events, subjects
from schemas.events import Canceled, Crashed, Event, Run, Started, Succeeded
from schemas.events import Failed as RunFailed
from schemas.events import Final as FinalEvent
from schemas.prediction import EventGap

log = structlog.get_logger("samovar.event_consumer")

MAX_BATCH: Final = 500
PAUSE_SECONDS: Final = 0.25
"""How long more may come once something has, to be taken together. The consumer is the second net: to take each
message as it came cost a tenth of the broker's work and of ours (docs/decisions/0002)."""
RESTART_SECONDS: Final = 0.5
REDELIVERY_SECONDS: Final = 2.0  # until a message that could not be recorded comes again
MAX_UNKNOWN_DELIVERIES: Final = 30  # of an event whose prediction nobody knows, until it is parked: a minute
MAX_INCOMPLETE_DELIVERIES: Final = 3  # of a final event with parts missing, until its run is started over

WAIT_FOR_ONE: Final = json.encode(PullRequest(batch=1, expires=30 * jetstream.SECOND, idle_heartbeat=jetstream.SECOND))
TAKE_WAITING: Final = json.encode(PullRequest(batch=MAX_BATCH, no_wait=True))
PULL_SUBJECT: Final = jetstream.pull_subject(subjects.EVENTS, subjects.RECORDER)
REDELIVER: Final = jetstream.nak(REDELIVERY_SECONDS)
END_OF_PULL: Final = {jetstream.NO_MESSAGES, jetstream.REQUEST_TIMEOUT}

CONSUMER: Final = {
    "filter_subjects": ["events.*.*.started", "events.*.*.crashed", "events.*.*.final"],
    "ack_policy": "explicit",
    "ack_wait": 30 * jetstream.SECOND,
    "max_ack_pending": 10_000,
    "deliver_policy": "all",
}


class EventStore(Protocol):
    """The part of the record that starts, crashes and parked events are written to."""

    async def start(self, started: Sequence[tuple[str, datetime, Run]]) -> None: ...
    async def note_attempt(self, id: str, attempt: int, job: int | None, stream: datetime | None) -> bool: ...
    async def set_aside_event(self, subject: str, data: bytes, reason: str) -> None: ...


class EventConsumer:
    """The gateway's share of the recorder's durable consumer: starts, crashes and final events of all predictions.

    It sees that nothing is missed: events of gateways that are gone, and all that came while nobody listened. What this
    gateway recorded already is acknowledged unread. An event is acknowledged once it is in the record, comes again if
    it could not be written, and is parked if it means nothing.
    """

    def __init__(
        self, client: Client, broker: Broker, store: EventStore, in_flight: InFlight, recorder: Recorder
    ) -> None:
        self._client = client
        self._broker = broker
        self._store = store
        self._in_flight = in_flight
        self._recorder = recorder

    async def serve(self) -> None:
        """Consume events until cancelled."""
        while True:
            try:
                await self._consume()
            except (BrokerError, NatsError, OSError, TimeoutError) as error:
                log.info("recorder_waits", reason=str(error) or type(error).__name__)
                await asyncio.sleep(RESTART_SECONDS)
            except Exception:
                log.exception("recorder_failed")
                await asyncio.sleep(RESTART_SECONDS)

    async def _consume(self) -> None:
        await self._broker.ensure_streams()
        await self._broker.ensure_consumer(subjects.EVENTS, subjects.RECORDER, CONSUMER)
        inbox = self._client.new_inbox()
        messages: asyncio.Queue[Message] = asyncio.Queue()
        subscription = await self._client.listen(inbox, messages.put_nowait)
        try:
            while True:
                if (first := await self._wait_for_one(inbox, messages)) is None:
                    continue
                await self._process([first])
                count = 1
                while count:
                    if count < MAX_BATCH:
                        await asyncio.sleep(PAUSE_SECONDS)
                    count = await self._take_waiting(inbox, messages)
        finally:
            with suppress(NatsError, OSError):
                await subscription.unsubscribe()

    async def _wait_for_one(self, inbox: str, messages: asyncio.Queue[Message]) -> Message | None:
        """Wait for the next message, so that an idle broker is not asked again and again; None: there is none yet."""
        await self._client.publish(PULL_SUBJECT, WAIT_FOR_ONE, reply=inbox)
        while True:
            message = await _next(messages)
            if (status := message.status) is None:
                return message
            if status in END_OF_PULL:
                return None
            if status != jetstream.IDLE_HEARTBEAT:
                raise BrokerError(status, "pull")

    async def _take_waiting(self, inbox: str, messages: asyncio.Queue[Message]) -> int:
        """Process what is waiting, up to a batch, and return how many messages it was.

        Raises `Failed` when the consumer is gone, and `TimeoutError` when it does not answer.
        """
        await self._client.publish(PULL_SUBJECT, TAKE_WAITING, reply=inbox)
        count = 0
        while count < MAX_BATCH:
            batch = [await _next(messages)]
            while not messages.empty():
                batch.append(messages.get_nowait())
            arrived = [message for message in batch if message.status is None]
            if arrived:
                await self._process(arrived)
            count += len(arrived)
            for status in (message.status for message in batch if message.status is not None):
                if status not in END_OF_PULL:
                    raise BrokerError(status, "pull")
                return count
        return count

    async def _process(self, messages: list[Message]) -> None:
        started: list[tuple[Message, Started]] = []
        others: list[Awaitable[None]] = []
        for message in messages:
            if self._in_flight.is_recorded(subjects.id_of(message.subject)):
                self._acknowledge(message)
                continue
            try:
                event = events.decode(message.data)
            except (DecodeError, ValueError) as error:
                others.append(self._park(message, f"not an event: {error}"))
                continue
            if isinstance(event, Started):
                started.append((message, event))
            else:
                others.append(self._record_event(message, event))
        if started:
            others.append(self._record_starts(started))
        await asyncio.gather(*others)

    async def _record_event(self, message: Message, event: Event) -> None:
        match event:
            case Crashed():
                await self._record_crash(message, event)
            case Succeeded() | RunFailed() | Canceled():
                await self._record_final(message, event)
            case _:
                self._acknowledge(message)

    async def _record_starts(self, started: list[tuple[Message, Started]]) -> None:
        try:
            await self._store.start([(event.id, event.at, event.run) for _, event in started])
        except Unavailable:
            for message, _ in started:
                self._redeliver(message)
        else:
            for message, _ in started:
                self._acknowledge(message)

    async def _record_crash(self, message: Message, event: Crashed) -> None:
        try:
            await self._store.note_attempt(event.id, event.attempt, event.job, self._broker.jobs_created_at)
        except Unavailable:
            self._redeliver(message)
        else:
            self._acknowledge(message)

    async def _record_final(self, message: Message, event: FinalEvent) -> None:
        deliveries = jetstream.delivery_count(message)
        try:
            has_row = await asyncio.shield(self._recorder.record_soon(event))
        except EventGap:
            if deliveries >= MAX_INCOMPLETE_DELIVERIES:
                await self._restart_run(message, event)
            else:
                self._redeliver(message)
        except (Unavailable, BrokerError, FileStoreUnavailable):
            self._redeliver(message)
        except Exception:
            log.exception("final_refused", id=event.id)
            self._redeliver(message)
        else:
            if has_row:
                self._acknowledge(message)
            elif deliveries >= MAX_UNKNOWN_DELIVERIES:
                await self._park(message, "no such prediction")
            else:
                self._redeliver(message)

    async def _restart_run(self, message: Message, event: FinalEvent) -> None:
        try:
            await self._recorder.restart_run(event.id)
        except BrokerError:
            self._redeliver(message)
        else:
            self._acknowledge(message)

    async def _park(self, message: Message, reason: str) -> None:
        """Put an event aside that cannot be recorded, for whoever looks into it."""
        log.warning("event_parked", subject=message.subject, reason=reason)
        try:
            await self._store.set_aside_event(message.subject, message.data, reason)
        except Unavailable:
            self._redeliver(message)
        else:
            self._acknowledge(message)

    def _acknowledge(self, message: Message) -> None:
        self._settle(message, jetstream.ACK)

    def _redeliver(self, message: Message) -> None:
        self._settle(message, REDELIVER)

    def _settle(self, message: Message, acknowledgement: bytes) -> None:
        with suppress(NatsError, OSError):
            self._client.publish_nowait(message.reply, acknowledgement)


async def _next(messages: asyncio.Queue[Message]) -> Message:
    """Raises `TimeoutError`. `wait_for` of Python 3.11 would lose a cancellation that comes with a message."""
    async with asyncio.timeout(TIMEOUT_SECONDS):
        return await messages.get()
