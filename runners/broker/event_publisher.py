"""Events on their way to JetStream: each is repeated until it is stored."""

import asyncio
from typing import Any, Final

import structlog
from msgspec import Raw, Struct, json

from runners.broker.connection import Link
from runners.broker.streams import Streams
from runners.errors import NoAnswer, Refused, StartOver
from schemas import events, subjects
from schemas.events import Event, Log, Output, Run, Started
from schemas.events import Final as FinalEvent
from schemas.jobs import Job

log = structlog.stdlib.get_logger()

FIRST: Final = {"Nats-Expected-Last-Subject-Sequence": "0"}
TAKEN: Final = 10071  # the subject has a message already: a final
FULL: Final = 10077  # the queue is at its cap
PIECE: Final = (
    subjects.MAX_MESSAGE - 64_000
)  # bytes of values in one event; the rest is for all that stands beside them
BESIDE: Final = 12  # bytes: what stands around a key
TEXT_PIECE: Final = PIECE // 6  # characters; JSON needs six bytes for one at worst
KEPT: Final = 64_000_000  # bytes of what a run said that are kept, to say them again


class QueueFull(Refused):
    """No room for another job of this model."""


class Stored(Struct, frozen=True):
    seq: int = 0
    error: dict[str, object] | None = None


_stored = json.Decoder(Stored)


class Value(Struct, frozen=True):
    """An output, or a chunk of one, as an event carries it."""

    text: Raw
    files: list[str] = []
    stored: str | None = None
    """The key under which it is kept, as it is too large for a message; `text` is null then."""

    @property
    def size(self) -> int:
        """Bytes that it takes in an event, or somewhat more."""
        keys = self.files if self.stored is None else [*self.files, self.stored]
        return len(bytes(self.text)) + 1 + sum(len(key) + BESIDE for key in keys)


class Reporter:
    def __init__(self, link: Link, streams: Streams) -> None:
        self._link = link
        self._streams = streams

    async def say(self, event: Event) -> int:
        """Its place in the stream, once it is stored."""
        return await self._through(subjects.event(event.id, events.kind(event)), events.encode(event))

    async def end(self, final: FinalEvent) -> bool:
        """The one final event of a prediction. False: it had one already, ours said twice or another's."""
        try:
            await self._through(subjects.event(final.id, "final"), events.encode(final), FIRST)
        except Refused as refusal:
            if refusal.code != TAKEN:
                raise
            return False
        return True

    async def ended(self, id: str) -> bool:
        """Whether somebody said its final event."""
        subject = subjects.event(id, "final")
        while True:
            try:
                return await self._streams.last_event(subject) is not None
            except NoAnswer as trouble:
                await self._mend(trouble)

    async def submit(self, job: Job, subject: str) -> int:
        """Put a job into the queue again; its sequence there.

        Raises `QueueFull`.
        """
        return await self._through(subject, json.encode(job), {"Nats-Msg-Id": f"{job.id}:{job.attempt}"})

    async def said(self, sequence: int, subject: str) -> bool:
        while True:
            try:
                return await self._streams.holds(sequence, subject)
            except NoAnswer as trouble:
                await self._mend(trouble)

    @property
    def generation(self) -> int:
        return self._link.generation

    async def _through(self, subject: str, payload: bytes, headers: dict[str, str] | None = None) -> int:
        while True:
            try:
                answer = await self._link.ask(subject, payload, headers)
                stored = _stored.decode(answer.data)
                if stored.error is None:
                    return stored.seq
                _refuse(stored.error)
            except NoAnswer as trouble:
                await self._mend(trouble)
            except Refused as refusal:
                if refusal.code in (TAKEN, FULL):
                    raise
                log.warning("JetStream refused a message; it is repeated", reason=str(refusal))
                await self._mend(refusal)

    async def _mend(self, trouble: Exception) -> None:
        """Before the next try: the stream may be gone, or the server still starting."""
        if self._link.lost.done():
            raise trouble
        try:
            await self._streams.ensure()
        except (NoAnswer, Refused):
            await asyncio.sleep(0.2)
        else:
            # Whatever it was, it is not a missing stream alone: do not spin.
            await asyncio.sleep(0.02)


class Report:
    """What one run says, in order; said again from the start when the stream has lost it."""

    def __init__(self, reporter: Reporter, id: str, run: Run) -> None:
        self._reporter = reporter
        self.id = id
        self.run = run
        self.started: Started | None = None
        self._started_said = False
        self._values: list[Value] = []
        self._said_values: list[Value] = []
        self._text = ""
        self._said_text: list[str] = []
        self._size = 0
        self.size = 0
        """Bytes of output that the run came up with, said or not."""
        self.trouble: str | None = None
        """Why it fails, whatever becomes of it in the worker."""
        self.outputs = 0
        """Chunks said."""
        self.logs = 0
        """Characters of log said."""
        self._last = 0
        self._generation = reporter.generation

    def value(self, value: Value) -> None:
        self._values.append(value)

    def text(self, text: str) -> None:
        self._text += text

    async def say(self, *, logs: bool) -> None:
        """Started, and every chunk that was not said yet; what was logged, too, if that is due."""
        while True:
            await self._check()
            if self.started is not None and not self._started_said:
                self._started_said = await self._send(self.started)
            elif self._values:
                await self._say_values()
            elif self._text and logs:
                await self._say_text()
            else:
                return

    def again(self, run: Run) -> None:
        """All of it is said again, as what a later run said: what was said long ago may be gone, and counts no more.

        Raises `StartOver`.
        """
        self.run = run
        self._rewind()

    async def rest(self, *, beside: int = 0) -> tuple[list[Value], str]:
        """What the final event has to carry: chunks and log that were not said. The rest of it fits."""
        await self._check()
        while (self._values or self._text) and beside + self._unsaid > PIECE:
            await self.say(logs=True)
            await self._check()
        return self._values[:], self._text

    @property
    def _unsaid(self) -> int:
        return sum(value.size for value in self._values) + 6 * len(self._text)

    async def _say_values(self) -> None:
        piece = _piece(self._values)
        if await self._send(Output(id=self.id, run=self.run, index=self.outputs, **carried(piece))):
            # In this order: nothing here waits, so the lists are never seen halfway.
            del self._values[: len(piece)]
            self._said_values += piece
            self.outputs += len(piece)
            self._size += sum(value.size for value in piece)
            self._forget()

    async def _say_text(self) -> None:
        text = self._text[:TEXT_PIECE]
        if await self._send(Log(id=self.id, run=self.run, offset=self.logs, text=text)):
            self._text = self._text[len(text) :]
            self._said_text.append(text)
            self.logs += len(text)
            self._size += len(text)
            self._forget()

    async def _send(self, event: Event) -> bool:
        """False: the stream is a new one, and all of this run is to be said again."""
        sequence = await self._reporter.say(event)
        wiped = sequence < self._last
        self._last = sequence
        if wiped:
            self._rewind()
        return not wiped

    async def _check(self) -> None:
        """After a reconnect, see whether what was said is still there."""
        if self._generation == self._reporter.generation:
            return
        self._generation = self._reporter.generation
        if self._last and not await self._reporter.said(self._last, subjects.event(self.id, "")):
            self._last = 0
            self._rewind()

    def _rewind(self) -> None:
        if self._size > KEPT:
            raise StartOver
        log.info("events are gone; saying this run again", id=self.id)
        self._started_said = False
        self._values[:0] = self._said_values
        self._text = "".join(self._said_text) + self._text
        self._said_values, self._said_text = [], []
        self.outputs = self.logs = self._size = 0

    def _forget(self) -> None:
        if self._size > KEPT:
            self._said_values, self._said_text = [], []


def carried(values: list[Value]) -> dict[str, Any]:
    """The fields of an event that carry them."""
    return {
        "values": [value.text for value in values],
        "files": [file for value in values for file in value.files],
        "stored": {place: value.stored for place, value in enumerate(values) if value.stored is not None},
    }


def _piece(values: list[Value]) -> list[Value]:
    """As many from the front as one message can carry, and one at least."""
    size = 0
    for count, value in enumerate(values):
        size += value.size
        if size > PIECE and count:
            return values[:count]
    return values[:]


def _refuse(error: dict[str, object]) -> None:
    code = error.get("err_code")
    number = code if isinstance(code, int) else 0
    kind = QueueFull if number == FULL else Refused
    raise kind(number, str(error.get("description", "refused")))
