"""Events on their way to JetStream, each repeated until it is stored."""

import asyncio
from typing import Any, Final, Never

import structlog
from msgspec import Raw, Struct, json

from bus.jetstream import FIRST_OF_SUBJECT, MESSAGE_ID, SUBJECT_FULL, WRONG_LAST_SEQUENCE, Refusal, decode_ack
from runners.broker.connection import Connection
from runners.broker.streams import Streams
from runners.errors import BrokerTimeout, EventsLost, RequestRefused
from schemas import events, subjects
from schemas.events import Event, Log, Output, Run, Started
from schemas.events import Final as FinalEvent
from schemas.jobs import Job

log = structlog.stdlib.get_logger()

MAX_EVENT_BYTES: Final = subjects.MAX_MESSAGE_BYTES - 64_000  # of values in one event; the other fields get the rest
KEY_OVERHEAD_BYTES: Final = 12  # quotes and commas around a key
MAX_LOG_CHARACTERS: Final = MAX_EVENT_BYTES // 6  # in one event; JSON needs up to six bytes for a character
MAX_REPLAY_BYTES: Final = 64_000_000  # of published events that a run keeps, to publish them again


class QueueFull(RequestRefused):
    """The queue has no room for another job of this model."""


class Value(Struct, frozen=True):
    """An output, or a chunk of one, in the form that events carry."""

    text: Raw
    files: list[str] = []
    stored_key: str | None = None
    """Key in the file store of a value that is too large for a message; `text` is null then."""

    @property
    def size(self) -> int:
        """An upper bound of the bytes that it takes in an event."""
        keys = self.files if self.stored_key is None else [*self.files, self.stored_key]
        return len(bytes(self.text)) + 1 + sum(len(key) + KEY_OVERHEAD_BYTES for key in keys)


class EventPublisher:
    """Publishes events and jobs for the whole agent, and repeats each until it is stored.

    It creates streams that are missing, and raises once the connection is closed for good.
    """

    def __init__(self, connection: Connection, streams: Streams) -> None:
        self._connection = connection
        self._streams = streams

    async def publish(self, event: Event) -> int:
        """Publish an event and return its sequence number."""
        return await self._publish(subjects.event(event.id, events.kind(event)), events.encode(event))

    async def publish_final(self, final: FinalEvent) -> bool:
        """Publish the final event of a prediction. Returns False if there is one already: this one, or another's."""
        try:
            await self._publish(subjects.event(final.id, "final"), events.encode(final), FIRST_OF_SUBJECT)
        except RequestRefused as refusal:
            if refusal.code != WRONG_LAST_SEQUENCE:
                raise
            return False
        return True

    async def has_final(self, id: str) -> bool:
        """Return whether the prediction has its final event."""
        subject = subjects.event(id, "final")
        while True:
            try:
                return await self._streams.last_event(subject) is not None
            except BrokerTimeout as error:
                await self._recover(error)

    async def publish_job(self, job: Job, subject: str) -> int:
        """Publish a job for its next attempt and return its sequence number.

        Raises `QueueFull`.
        """
        return await self._publish(subject, json.encode(job), {MESSAGE_ID: f"{job.id}:{job.attempt}"})

    async def is_stored(self, sequence: int, subject: str) -> bool:
        """Return whether the stream still has this event."""
        while True:
            try:
                return await self._streams.has_event(sequence, subject)
            except BrokerTimeout as error:
                await self._recover(error)

    @property
    def generation(self) -> int:
        """The generation of the connection."""
        return self._connection.generation

    async def _publish(self, subject: str, payload: bytes, headers: dict[str, str] | None = None) -> int:
        while True:
            try:
                reply = await self._connection.ask(subject, payload, headers)
                ack = decode_ack(reply.data)
                if ack.error is None:
                    return ack.seq
                _refuse(ack.error)
            except BrokerTimeout as error:
                await self._recover(error)
            except RequestRefused as refusal:
                if refusal.code in (WRONG_LAST_SEQUENCE, SUBJECT_FULL):
                    raise
                log.warning("JetStream refused a message; it is repeated", reason=str(refusal))
                await self._recover(refusal)

    async def _recover(self, error: Exception) -> None:
        """Prepare for the next try: the stream may be missing, or the server still starting."""
        if self._connection.closed.done():
            raise error
        try:
            await self._streams.ensure()
        except (BrokerTimeout, RequestRefused):
            await asyncio.sleep(0.2)
        else:
            # Whatever it was, it is not a missing stream alone: do not spin.
            await asyncio.sleep(0.02)


class RunEvents:
    """The events of one run, in order, published again from the start when the stream has lost them.

    A job's run adds values and log; `flush` publishes them, and `remainder` is for the final event.
    """

    def __init__(self, publisher: EventPublisher, id: str, run: Run) -> None:
        self._publisher = publisher
        self.id = id
        self.run = run
        self.started_event: Started | None = None
        self._is_started_published = False
        self._pending_values: list[Value] = []
        self._published_values: list[Value] = []
        self._pending_text = ""
        self._published_texts: list[str] = []
        self._published_size = 0
        self.output_size = 0
        """Bytes of output of the run so far, published or not."""
        self.failure: str | None = None
        """The reason why the run fails, whatever becomes of it in the worker."""
        self.output_count = 0
        """The number of published chunks."""
        self.log_length = 0
        """The number of published characters of log."""
        self._last_sequence = 0
        self._generation = publisher.generation

    def add_value(self, value: Value) -> None:
        """Add a chunk of output."""
        self._pending_values.append(value)

    def add_log(self, text: str) -> None:
        """Add a piece of log."""
        self._pending_text += text

    async def flush(self, *, include_logs: bool) -> None:
        """Publish `Started` and all pending chunks; the pending log, too, if it is due."""
        while True:
            await self._check_stored()
            if self.started_event is not None and not self._is_started_published:
                self._is_started_published = await self._publish(self.started_event)
            elif self._pending_values:
                await self._publish_values()
            elif self._pending_text and include_logs:
                await self._publish_text()
            else:
                return

    def restart(self, run: Run) -> None:
        """Publish everything again as the events of a later run: the old ones may be gone, and count no more.

        Raises `EventsLost`.
        """
        self.run = run
        self._rewind()

    async def remainder(self, *, reserved: int = 0) -> tuple[list[Value], str]:
        """Return the chunks and the log for the final event to carry, with `reserved` bytes of it for other values.

        What would not fit is published before.
        """
        await self._check_stored()
        while (self._pending_values or self._pending_text) and reserved + self._pending_size > MAX_EVENT_BYTES:
            await self.flush(include_logs=True)
            await self._check_stored()
        return self._pending_values[:], self._pending_text

    @property
    def _pending_size(self) -> int:
        return sum(value.size for value in self._pending_values) + 6 * len(self._pending_text)

    async def _publish_values(self) -> None:
        values = _fitting(self._pending_values)
        if await self._publish(Output(id=self.id, run=self.run, index=self.output_count, **value_fields(values))):
            # Nothing here waits, so nobody sees the lists halfway.
            del self._pending_values[: len(values)]
            self._published_values += values
            self.output_count += len(values)
            self._published_size += sum(value.size for value in values)
            self._limit_replay()

    async def _publish_text(self) -> None:
        text = self._pending_text[:MAX_LOG_CHARACTERS]
        if await self._publish(Log(id=self.id, run=self.run, offset=self.log_length, text=text)):
            self._pending_text = self._pending_text[len(text) :]
            self._published_texts.append(text)
            self.log_length += len(text)
            self._published_size += len(text)
            self._limit_replay()

    async def _publish(self, event: Event) -> bool:
        """Publish an event. Returns False if the stream is a new one, which needs all events of the run again."""
        sequence = await self._publisher.publish(event)
        is_new_stream = sequence < self._last_sequence
        self._last_sequence = sequence
        if is_new_stream:
            self._rewind()
        return not is_new_stream

    async def _check_stored(self) -> None:
        """After a reconnect, make sure that the published events are still there."""
        if self._generation == self._publisher.generation:
            return
        self._generation = self._publisher.generation
        if self._last_sequence and not await self._publisher.is_stored(
            self._last_sequence, subjects.event(self.id, "")
        ):
            self._last_sequence = 0
            self._rewind()

    def _rewind(self) -> None:
        if self._published_size > MAX_REPLAY_BYTES:
            raise EventsLost
        log.info("events are gone; publishing this run's again", id=self.id)
        self._is_started_published = False
        self._pending_values[:0] = self._published_values
        self._pending_text = "".join(self._published_texts) + self._pending_text
        self._published_values, self._published_texts = [], []
        self.output_count = self.log_length = self._published_size = 0

    def _limit_replay(self) -> None:
        if self._published_size > MAX_REPLAY_BYTES:
            self._published_values, self._published_texts = [], []


def value_fields(values: list[Value]) -> dict[str, Any]:
    """Return the fields of an event that carry the values."""
    return {
        "values": [value.text for value in values],
        "files": [file for value in values for file in value.files],
        "stored": {index: value.stored_key for index, value in enumerate(values) if value.stored_key is not None},
    }


def _fitting(values: list[Value]) -> list[Value]:
    """Return as many values from the front as one message can carry, and at least one."""
    size = 0
    for count, value in enumerate(values):
        size += value.size
        if size > MAX_EVENT_BYTES and count:
            return values[:count]
    return values[:]


def _refuse(refusal: Refusal) -> Never:
    error = QueueFull if refusal.err_code == SUBJECT_FULL else RequestRefused
    raise error(refusal.err_code, refusal.description)
