"""Outcomes become the record: each is written once, with all that belongs to it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Final, Protocol

import structlog
from msgspec import Raw

from gateway.broker import Broker
from gateway.errors import Unavailable
from gateway.events.in_flight import InFlight
from gateway.events.large_values import LargeValues
from schemas.events import Event
from schemas.events import Final as FinalEvent
from schemas.prediction import Prediction, replay

log = structlog.get_logger("samovar.recorder")

RETRY_SECONDS: Final = 0.25  # until a database that was away is tried again


class OutcomeStore(Protocol):
    """The part of the record that outcomes are written to."""

    def finish(self, p: Prediction) -> asyncio.Future[str | None]: ...


class Recorder:
    """The writer of outcomes, used by whoever learns of one: streams and waits, live events, consumer, reconciler.

    What this gateway shows to its clients is written at once, as it was shown, so that even a broker that loses its
    directory a moment later cannot make it untrue. Whatever else ends is written from its final event. Once a push or
    a training is written, its kind's function in `on_recorded` is called until it succeeds.
    """

    def __init__(
        self,
        in_flight: InFlight,
        broker: Broker,
        store: OutcomeStore,
        large_values: LargeValues,
        on_recorded: Mapping[str, Callable[[str], Awaitable[None]]],
    ) -> None:
        self._in_flight = in_flight
        self._broker = broker
        self._store = store
        self._large_values = large_values
        self._on_recorded = on_recorded
        self._follow_ups: set[asyncio.Task[None]] = set()

    def record_outcome(self, p: Prediction) -> None:
        """Write an outcome that somebody is about to be shown.

        From here on it is true, whatever becomes of the broker's files.
        """
        if not self._in_flight.keep_outcome(p):
            return
        commit = self._in_flight.commit(p.id)
        if commit is None:
            self._write(p)
        else:  # a task for each would cost more than all the rest
            commit.add_done_callback(lambda _: self._write(p))

    def record_soon(self, event: FinalEvent) -> asyncio.Task[bool]:
        """Begin to record a final event, unless that has begun. The task returns what `record` does."""
        task = self._in_flight.recording(event.id)
        if task is None:
            task = asyncio.create_task(self.record(event))
            self._in_flight.start_recording(event.id, task)
            task.add_done_callback(partial(self._end_recording, event.id))
        return task

    async def record(self, event: FinalEvent) -> bool:
        """Write an outcome from its final event. Returns False if the record has no such prediction.

        Raises `Gap` when some of the events that the final one counts are not stored any more.
        """
        events: list[Event] = await self._broker.read_events(event.id) if event.outputs or event.logs else []
        if not any(isinstance(each, FinalEvent) for each in events):
            events.append(event)
        return await self._finish(replay_outcome(event.id, await self._large_values.restore(events)))

    async def restart_run(self, id: str) -> None:
        """Forget a run whose events are not complete, so that its prediction is run again.

        The reconciler finds a prediction with neither a job nor a final event, and publishes the next attempt.
        """
        log.warning("run_started_over", id=id, reason="events were lost before they were recorded")
        await self._broker.delete_events(id)

    def _write(self, p: Prediction) -> None:
        self._store.finish(p).add_done_callback(partial(self._end_write, p))

    def _end_write(self, p: Prediction, done: asyncio.Future[str | None]) -> None:
        error = None if done.cancelled() else done.exception()
        if isinstance(error, Unavailable):
            done.get_loop().call_later(RETRY_SECONDS, self._write, p)
            return
        self._in_flight.drop_outcome(p.id)
        if error is not None:
            log.error("final_refused", id=p.id, exc_info=error)
        elif not done.cancelled() and (kind := done.result()) is not None:
            self._follow_up(p.id, kind)

    def _follow_up(self, id: str, kind: str) -> None:
        if kind in self._on_recorded:
            task = asyncio.create_task(self._call_until_done(id, kind))
            self._follow_ups.add(task)
            task.add_done_callback(self._follow_ups.discard)
        else:
            self._in_flight.note_recorded(id)

    async def _call_until_done(self, id: str, kind: str) -> None:
        """Retry while the database is away: clients see the end of a push only with its version."""
        while True:
            try:
                await self._on_recorded[kind](id)
            except Unavailable:
                await asyncio.sleep(RETRY_SECONDS)
            except Exception:
                log.exception("final_refused", id=id)
                return
            else:
                self._in_flight.note_recorded(id)
                return

    async def _finish(self, p: Prediction) -> bool:
        if commit := self._in_flight.commit(p.id):
            await asyncio.wait([commit])
        kind = await self._store.finish(p)
        if kind is None:
            return False
        if (on_recorded := self._on_recorded.get(kind)) is not None:
            await on_recorded(p.id)
        self._in_flight.note_recorded(p.id)
        return True

    def _end_recording(self, id: str, task: asyncio.Task[bool]) -> None:
        self._in_flight.end_recording(id)
        if not task.cancelled() and (error := task.exception()):
            log.info("not_recorded_yet", id=id, reason=str(error) or type(error).__name__)


def replay_outcome(id: str, events: Iterable[Event]) -> Prediction:
    """Compute the final state from the events alone: the recorder does not read the row that it writes.

    Raises `Gap` when some are missing.
    """
    blank = Prediction(
        id=id, account=0, model="", version="", input=Raw(b"{}"), created_at=datetime.min.replace(tzinfo=UTC)
    )
    return replay(blank, events)
