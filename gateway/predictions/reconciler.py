"""The repair of gaps between the record and the queue: a prediction that has not ended has a job, or gets one."""

import asyncio
import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from gateway.background import run_every
from gateway.broker import Broker, BrokerError
from gateway.errors import FileStoreUnavailable, QueueFull, Unavailable
from gateway.events.in_flight import InFlight
from gateway.events.recorder import Recorder
from gateway.files.store import FileStore
from gateway.predictions.cancellation import VERSION_DELETED
from gateway.predictions.job import build_job
from gateway.store.predictions import DuePrediction, PredictionStore
from schemas.events import Canceled, Crashed, Event
from schemas.events import Final as FinalEvent
from schemas.jobs import Cancel
from schemas.prediction import EventGap

log = structlog.get_logger("samovar.reconciler")

RECONCILE_SECONDS: Final = 1.0
STREAM_CHECK_SECONDS: Final = 5.0  # between checks of the streams while nothing depends on them
RECHECK_AFTER: Final = timedelta(seconds=10)
MAX_BATCH: Final = 500
MAX_STOP_TIME: Final = timedelta(minutes=1)
"""After its version was deleted, a run that was told to stop and says nothing is taken for dead."""


class Reconciler:
    """The periodic search for predictions without a job, in every gateway.

    It never guesses: it acts when the message of a job is gone, or its stream is another one, and there is no final
    event. It also notes in the record where the jobs of this gateway are, unless they end within a second or so.
    """

    def __init__(
        self, in_flight: InFlight, store: PredictionStore, broker: Broker, recorder: Recorder, files: FileStore
    ) -> None:
        self._in_flight = in_flight
        self._store = store
        self._broker = broker
        self._recorder = recorder
        self._files = files
        self._stream: datetime | None = None
        """When the jobs stream was created, by the last look at it."""
        self._checked_at = -math.inf
        """When the streams were last seen to exist."""

    def note_gap(self) -> None:
        """Check the streams next time: the connection was away, and they may be others."""
        self._checked_at = -math.inf

    async def serve(self) -> None:
        """Reconcile until cancelled."""
        await run_every(RECONCILE_SECONDS, self._reconcile, "reconciler")

    async def _reconcile(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._in_flight.has_unnoted_jobs or now - self._checked_at >= STREAM_CHECK_SECONDS:
            await self._check_streams()
        await self._note_jobs()
        await self._expedite_lost_jobs()
        await self._check_due(now)

    async def _check_streams(self) -> None:
        """See that the streams exist: what is noted or missing is so in the streams that there are now."""
        await self._broker.ensure_streams()
        self._checked_at = asyncio.get_running_loop().time()

    async def _note_jobs(self) -> None:
        jobs = self._in_flight.unnoted_jobs(before=asyncio.get_running_loop().time() - RECONCILE_SECONDS)
        for start in range(0, len(jobs), MAX_BATCH):
            batch = jobs[start : start + MAX_BATCH]
            await self._store.note_jobs(batch, RECHECK_AFTER)
            for id, _, _ in batch:
                self._in_flight.forget_job(id)

    async def _expedite_lost_jobs(self) -> None:
        """Make jobs due that were noted in another stream than this one: they are gone."""
        created_at = self._broker.jobs_created_at
        if created_at is not None and created_at != self._stream:
            await self._store.make_due(created_at)
            self._stream = created_at

    async def _check_due(self, started: float) -> None:
        while due := await self._store.take_due(MAX_BATCH, RECHECK_AFTER):
            if self._checked_at < started:
                await self._check_streams()
            results = await asyncio.gather(*(self._check(each) for each in due), return_exceptions=True)
            for each, result in zip(due, results, strict=True):
                if isinstance(result, BrokerError | Unavailable | FileStoreUnavailable | EventGap | QueueFull):
                    log.info("not_reconciled", id=each.id, reason=str(result) or type(result).__name__)
                elif isinstance(result, BaseException):
                    raise result
            if len(due) < MAX_BATCH:
                return

    async def _check(self, due: DuePrediction) -> None:
        if due.version_deleted:
            await self._end_deleted(due)
            return
        job, stream = due.job, due.stream
        # It may not be noted yet, after more creates than can be in seconds.
        if job is None and (published := self._in_flight.unnoted_job(due.id)) is not None:
            job, stream = published.sequence, published.stream
        if await self._has_job(job, stream):
            if due.cancel_requested_at:
                await self._broker.cancel(Cancel(id=due.id))
            await self._wake(due)
            return
        events = await self._broker.read_events(due.id)
        if (final := _final(events)) is not None:
            await self._record(final)
        else:
            await self._replace_job(due, events)

    async def _has_job(self, job: int | None, stream: datetime | None) -> bool:
        return job is not None and stream == self._broker.jobs_created_at and await self._broker.has_job(job)

    async def _record(self, final: FinalEvent) -> None:
        try:
            await self._recorder.record(final)
        except EventGap:
            await self._recorder.restart_run(final.id)

    async def _replace_job(self, due: DuePrediction, events: Sequence[Event]) -> None:
        """Note the job that a runner published after a crash, end what should be canceled, or publish a new job."""
        crash = max((event for event in events if isinstance(event, Crashed)), key=lambda e: e.attempt, default=None)
        if crash and crash.attempt > due.attempt and await self._has_job(crash.job, self._broker.jobs_created_at):
            await self._store.note_attempt(due.id, crash.attempt, crash.job, self._broker.jobs_created_at)
        elif due.cancel_requested_at:
            await self._broker.publish_event(Canceled(id=due.id, run=None, at=datetime.now(UTC)))
        else:
            # Without a sequence the message may well be there: the same attempt again is swallowed if it came lately.
            attempt = due.attempt if due.job is None and crash is None else due.attempt + 1
            await self._publish_again(due, max(attempt, crash.attempt + 1 if crash else 1))

    async def _publish_again(self, due: DuePrediction, attempt: int) -> None:
        """Note the attempt first: a gateway that dies in between leaves a row that is looked for again."""
        if not await self._store.note_attempt(due.id, attempt, None, None):
            return
        job = await build_job(due, self._files, attempt=attempt)
        sequence = await self._broker.publish_job(job, due.pool)
        log.info("published_again", id=due.id, attempt=attempt)
        await self._store.note_attempt(due.id, attempt, sequence, self._broker.jobs_created_at)
        await self._wake(due)

    async def _wake(self, due: DuePrediction) -> None:
        if due.kind == "predict":
            await self._broker.wake(due.pool, due.version)

    async def _end_deleted(self, due: DuePrediction) -> None:
        """End what is left of a deleted version: at once what nobody has started, the rest once it had time to stop."""
        events = await self._broker.read_events(due.id)
        if (final := _final(events)) is not None:
            await self._record(final)
            return
        requested_at, now = due.cancel_requested_at, datetime.now(UTC)
        if requested_at is None:
            await self._store.request_cancel(due.id)
        await self._broker.cancel(Cancel(id=due.id, reason=VERSION_DELETED))
        if events and (requested_at is None or now - requested_at < MAX_STOP_TIME):
            return
        await self._broker.publish_event(Canceled(id=due.id, run=None, at=now, error=VERSION_DELETED))
        if due.job is not None:
            await self._broker.discard_job(due.job)


def _final(events: Sequence[Event]) -> FinalEvent | None:
    return next((event for event in events if isinstance(event, FinalEvent)), None)
