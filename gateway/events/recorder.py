"""Events become the record: every final event is written once, with all that it speaks of."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final, Protocol

import structlog
from msgspec import DecodeError, Raw, json
from nats.errors import Error as NatsError

from bus.client import Client, Heard
from gateway.broker import DEADLINE, Broker, Failed
from gateway.errors import NoFiles, Unavailable
from gateway.events.large_values import Values
from schemas import events, subjects
from schemas.events import Canceled, Crashed, Event, Run, Started, Succeeded
from schemas.events import Failed as RunFailed
from schemas.events import Final as FinalEvent
from schemas.prediction import Gap, Prediction, replay

log = structlog.get_logger("samovar.recorder")

BATCH: Final = 500
PAUSE: Final = 0.25
"""Seconds in which more may come once something has, to be taken together. It is the second net: to take each message
as it came cost a tenth of the broker's work and of ours (docs/decisions/0002)."""
SECOND: Final = 1_000_000_000
FIRST: Final = json.encode({"batch": 1, "expires": 30 * SECOND, "idle_heartbeat": SECOND})
ALL: Final = json.encode({"batch": BATCH, "no_wait": True})
ALIVE: Final = 100  # says a broker that has nothing for us yet
EMPTY: Final = {404, 408}  # nothing there; nothing more
RETRY: Final = 0.25  # seconds until a database that was away is tried again
LATER: Final = 2.0  # seconds until a message that could not be recorded comes again
LOOKED_FOR: Final = 30  # deliveries until an event whose prediction nobody knows is parked: a minute
COMPLETE_BY: Final = 3  # deliveries until a final event with parts missing has its run started over
REMEMBERED: Final = 20_000

CONSUMER: Final = {
    "durable_name": subjects.RECORDER,
    "filter_subjects": ["events.*.*.started", "events.*.*.crashed", "events.*.*.final"],
    "ack_policy": "explicit",
    "ack_wait": 30_000_000_000,
    "max_ack_pending": 10_000,
    "deliver_policy": "all",
}


class Record(Protocol):
    async def start(self, started: Sequence[tuple[str, datetime, Run]]) -> None: ...
    def finish(self, p: Prediction) -> asyncio.Future[str | None]: ...
    async def note_attempt(self, id: str, attempt: int, job: int | None, stream: datetime | None) -> bool: ...
    async def park(self, subject: str, data: bytes, reason: str) -> None: ...


class Recorder:
    """Hears every final event twice, and writes it once.

    What this gateway tells its clients is written at once, as it was told, so that even a broker that loses its
    directory a moment later cannot make it untrue. The durable consumer sees that nothing else is missed: events of
    gateways that are gone, and all that was said while nobody listened. Who is in `on_made` for its kind, of a push or
    of a training, is called after its end is written, until that succeeds.
    """

    def __init__(
        self,
        client: Client,
        broker: Broker,
        record: Record,
        values: Values,
        on_made: Mapping[str, Callable[[str], Awaitable[None]]],
    ) -> None:
        self._client = client
        self._broker = broker
        self._record = record
        self._values = values
        self._on_made = on_made
        self._recorded: OrderedDict[str, None] = OrderedDict()
        self._under_way: dict[str, asyncio.Task[bool]] = {}
        self._kept: dict[str, Prediction] = {}
        self._making: set[asyncio.Task[None]] = set()
        self._coming: dict[str, asyncio.Future[datetime]] = {}

    def expect(self, id: str, commit: asyncio.Future[datetime]) -> None:
        """The row of `id` is being committed: a final event that is faster waits for it."""
        self._coming[id] = commit
        commit.add_done_callback(lambda _: self._coming.pop(id, None))

    def hear(self, event: FinalEvent) -> None:
        """A final event of one of our own predictions, from the live feed, that nobody is told of just now."""
        self._begin(event)

    def told(self, p: Prediction) -> None:
        """Somebody is told that it ended so: from here on that is true, whatever becomes of the broker's files."""
        if p.id not in self._recorded and p.id not in self._kept:
            self._kept[p.id] = p
            commit = self._coming.get(p.id)
            if commit is None:
                self._write(p)
            else:  # a task for each would cost more than all the rest
                commit.add_done_callback(lambda _: self._write(p))

    def kept(self, id: str) -> Prediction | None:
        """An end that was told and is not in the record yet."""
        return self._kept.get(id)

    async def serve(self) -> None:
        """Until it is cancelled."""
        while True:
            try:
                await self._consume()
            except (Failed, NatsError, OSError, TimeoutError) as error:
                log.info("recorder_waits", reason=str(error) or type(error).__name__)
                await asyncio.sleep(0.5)
            except Exception:
                log.exception("recorder_failed")
                await asyncio.sleep(0.5)

    async def record(self, event: FinalEvent) -> bool:
        """Write a final state with all that belongs to it. False: no such prediction in the record.

        Raises `Gap` when something that the event counts on is not kept any more.
        """
        said: list[Event] = await self._broker.history(event.id) if event.outputs or event.logs else []
        if not any(isinstance(each, FinalEvent) for each in said):
            said.append(event)
        return await self._finish(whole(event.id, await self._values.placed(said)))

    async def start_over(self, id: str) -> None:
        """Forget a run whose events are not all there, so that its prediction can be run again.

        The reconciler finds a prediction with neither a job nor a final event, and publishes the next attempt.
        """
        log.warning("run_started_over", id=id, reason="events were lost before they were recorded")
        await self._broker.forget(id)

    def _write(self, p: Prediction) -> None:
        self._record.finish(p).add_done_callback(lambda done: self._wrote(p, done))

    def _wrote(self, p: Prediction, done: asyncio.Future[str | None]) -> None:
        error = None if done.cancelled() else done.exception()
        if isinstance(error, Unavailable):
            done.get_loop().call_later(RETRY, self._write, p)
            return
        del self._kept[p.id]
        if error is not None:
            log.error("final_refused", id=p.id, exc_info=error)
        elif not done.cancelled() and (kind := done.result()) is not None:
            self._made(p, kind)

    def _made(self, p: Prediction, kind: str) -> None:
        if kind in self._on_made:
            task = asyncio.create_task(self._make(p, kind))
            self._making.add(task)
            task.add_done_callback(self._making.discard)
        else:
            self._remember(p.id)

    async def _make(self, p: Prediction, kind: str) -> None:
        """Until it succeeds: a push is told to have ended only with its version."""
        while True:
            try:
                await self._on_made[kind](p.id)
            except Unavailable:
                await asyncio.sleep(RETRY)
            except Exception:
                log.exception("final_refused", id=p.id)
                return
            else:
                self._remember(p.id)
                return

    async def _finish(self, p: Prediction) -> bool:
        if commit := self._coming.get(p.id):
            await asyncio.wait([commit])
        kind = await self._record.finish(p)
        if kind is None:
            return False
        if (made := self._on_made.get(kind)) is not None:
            await made(p.id)
        self._remember(p.id)
        return True

    def _begin(self, event: FinalEvent) -> asyncio.Task[bool]:
        task = self._under_way.get(event.id)
        if task is None:
            task = self._under_way[event.id] = asyncio.create_task(self.record(event))
            task.add_done_callback(lambda done: self._ended(event.id, done))
        return task

    def _ended(self, id: str, task: asyncio.Task[bool]) -> None:
        self._under_way.pop(id, None)
        if not task.cancelled() and (error := task.exception()):
            log.info("not_recorded_yet", id=id, reason=str(error) or type(error).__name__)

    def _remember(self, id: str) -> None:
        self._recorded[id] = None
        if len(self._recorded) > REMEMBERED:
            self._recorded.popitem(last=False)

    async def _consume(self) -> None:
        await self._broker.ensure()
        await self._broker.ask(
            f"CONSUMER.DURABLE.CREATE.{subjects.EVENTS}.{subjects.RECORDER}",
            {"stream_name": subjects.EVENTS, "config": CONSUMER},
        )
        inbox = self._client.new_inbox()
        messages: asyncio.Queue[Heard] = asyncio.Queue()
        subscription = await self._client.hear(inbox, messages.put_nowait)
        try:
            while True:
                first = await self._first(inbox, messages)
                if first is None:
                    continue
                await self._take([first])
                came = 1
                while came:
                    if came < BATCH:
                        await asyncio.sleep(PAUSE)
                    came = await self._pull(inbox, messages)
        finally:
            with suppress(NatsError, OSError):
                await subscription.unsubscribe()

    async def _first(self, inbox: str, messages: asyncio.Queue[Heard]) -> Heard | None:
        """What comes next, so that nobody is asked again and again where nothing does; None: nothing for long."""
        await self._ask(inbox, FIRST)
        while True:
            message = await _next(messages)
            if (status := message.status) is None:
                return message
            if status in EMPTY:
                return None
            if status != ALIVE:
                raise Failed(status, "pull")

    async def _pull(self, inbox: str, messages: asyncio.Queue[Heard]) -> int:
        """How many messages one request brought. Raises `Failed` when the consumer is gone or silent."""
        await self._ask(inbox, ALL)
        wanted = BATCH
        while wanted > 0:
            batch = [await _next(messages)]
            while not messages.empty():
                batch.append(messages.get_nowait())
            arrived = [message for message in batch if message.status is None]
            if arrived:
                await self._take(arrived)
            wanted -= len(arrived)
            for status in (message.status for message in batch if message.status is not None):
                if status not in EMPTY:
                    raise Failed(status, "pull")
                return BATCH - wanted
        return BATCH

    async def _ask(self, inbox: str, request: bytes) -> None:
        await self._client.publish(
            f"$JS.API.CONSUMER.MSG.NEXT.{subjects.EVENTS}.{subjects.RECORDER}", request, reply=inbox
        )

    async def _take(self, messages: list[Heard]) -> None:
        started: list[tuple[Heard, Started]] = []
        rest: list[Awaitable[None]] = []
        for message in messages:
            id = subjects.id_of(message.subject)
            if id in self._recorded:
                self._ack(message)
                continue
            try:
                event = events.decode(message.data)
            except (DecodeError, ValueError) as error:
                rest.append(self._park(message, f"not an event: {error}"))
                continue
            match event:
                case Started():
                    started.append((message, event))
                case Crashed():
                    rest.append(self._crashed(message, event))
                case Succeeded() | RunFailed() | Canceled():
                    rest.append(self._final(message, event))
                case _:
                    self._ack(message)
        if started:
            rest.append(self._started(started))
        await asyncio.gather(*rest)

    async def _started(self, started: list[tuple[Heard, Started]]) -> None:
        try:
            await self._record.start([(event.id, event.at, event.run) for _, event in started])
        except Unavailable:
            for message, _ in started:
                self._later(message)
        else:
            for message, _ in started:
                self._ack(message)

    async def _crashed(self, message: Heard, event: Crashed) -> None:
        try:
            await self._record.note_attempt(event.id, event.attempt, event.job, self._broker.jobs_made)
        except Unavailable:
            self._later(message)
        else:
            self._ack(message)

    async def _final(self, message: Heard, event: FinalEvent) -> None:
        deliveries = message.delivered
        try:
            there = await asyncio.shield(self._begin(event))
        except Gap:
            if deliveries >= COMPLETE_BY:
                await self._start_over(message, event)
            else:
                self._later(message)
        except (Unavailable, Failed, NoFiles):
            self._later(message)
        except Exception:
            log.exception("final_refused", id=event.id)
            self._later(message)
        else:
            if there:
                self._ack(message)
            elif deliveries >= LOOKED_FOR:
                await self._park(message, "no such prediction")
            else:
                self._later(message)

    async def _start_over(self, message: Heard, event: FinalEvent) -> None:
        try:
            await self.start_over(event.id)
        except Failed:
            self._later(message)
        else:
            self._ack(message)

    async def _park(self, message: Heard, reason: str) -> None:
        log.warning("event_parked", subject=message.subject, reason=reason)
        try:
            await self._record.park(message.subject, message.data, reason)
        except Unavailable:
            self._later(message)
        else:
            self._ack(message)

    def _ack(self, message: Heard) -> None:
        self._say(message, b"+ACK")

    def _later(self, message: Heard) -> None:
        self._say(message, b'-NAK {"delay": %d}' % int(LATER * SECOND))

    def _say(self, message: Heard, word: bytes) -> None:
        with suppress(NatsError, OSError):
            self._client.put(message.reply, word)


async def _next(messages: asyncio.Queue[Heard]) -> Heard:
    """Raises `TimeoutError`. `wait_for` of Python 3.11 would lose a cancellation that comes with a message."""
    async with asyncio.timeout(DEADLINE):
        return await messages.get()


def whole(id: str, said: Iterable[Event]) -> Prediction:
    """The final state by what was said alone: the recorder does not read the row that it writes.

    Raises `Gap` when something is missing.
    """
    blank = Prediction(
        id=id, account=0, model="", version="", input=Raw(b"{}"), created_at=datetime.min.replace(tzinfo=UTC)
    )
    return replay(blank, said)
