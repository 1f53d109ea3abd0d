"""Closes every gap between record and queue: a prediction that is not final has a job, or gets one."""

import asyncio
import math
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from gateway.background import every
from gateway.broker import Broker, Failed
from gateway.errors import NoFiles, QueueFull, Unavailable
from gateway.events.recorder import Recorder
from gateway.files.store import Files
from gateway.predictions.cancellation import DELETED
from gateway.predictions.job import job_of
from gateway.store.predictions import Due, Predictions
from schemas.events import Canceled, Crashed
from schemas.events import Final as FinalEvent
from schemas.jobs import Cancel
from schemas.prediction import Gap

log = structlog.get_logger("samovar.reconciler")

EVERY: Final = 1.0  # seconds
AT_REST: Final = 5.0  # seconds between two looks at the streams while there is nothing that they matter to
AGAIN: Final = timedelta(seconds=10)
MOST: Final = 500
STOPPED_BY: Final = timedelta(minutes=1)
"""After its version was deleted, a run that was told to stop and says nothing is taken for dead."""


class Reconciler:
    """Never guesses: it acts when the job's message is gone, or its stream is another one, and no final was said."""

    def __init__(self, record: Predictions, broker: Broker, recorder: Recorder, files: Files) -> None:
        self._record = record
        self._broker = broker
        self._recorder = recorder
        self._files = files
        self._submitting: set[str] = set()
        self._submitted: dict[str, tuple[int, datetime | None, float]] = {}
        self._stream: datetime | None = None
        self._looked_at = -math.inf
        """When the streams were last seen to be there."""

    def submitting(self, id: str) -> None:
        """A job of this gateway is about to be published: a quick one ends before we hear that it was."""
        self._submitting.add(id)

    def submitted(self, id: str, sequence: int | None) -> None:
        """It is noted in the record unless the prediction ends within a second or so; None: it was not published."""
        if id in self._submitting:
            self._submitting.discard(id)
            if sequence is not None:
                self._submitted[id] = (sequence, self._broker.jobs_made, asyncio.get_running_loop().time())

    def ended(self, id: str) -> None:
        self._submitting.discard(id)
        self._submitted.pop(id, None)

    def missed(self) -> None:
        """The connection was away, and the streams may be others."""
        self._looked_at = -math.inf

    async def serve(self) -> None:
        """Until it is cancelled."""
        await every(EVERY, self._reconcile, "reconciler")

    async def _reconcile(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._submitted or now - self._looked_at >= AT_REST:
            await self._look()
        await self._note()
        await self._hurry()
        await self._sweep(now)

    async def _look(self) -> None:
        """At the streams: what is noted, and what is found missing, is so in those that there are now."""
        await self._broker.ensure()
        self._looked_at = asyncio.get_running_loop().time()

    async def _note(self) -> None:
        old = asyncio.get_running_loop().time() - EVERY
        lasting = [(id, seq, made) for id, (seq, made, at) in self._submitted.items() if at < old and made is not None]
        for start in range(0, len(lasting), MOST):
            some = lasting[start : start + MOST]
            await self._record.note_jobs(some, AGAIN)
            for id, _, _ in some:
                self._submitted.pop(id, None)

    async def _hurry(self) -> None:
        """When the jobs stream is another one, all that was noted of the old one is gone: look at once."""
        made = self._broker.jobs_made
        if made is not None and made != self._stream:
            await self._record.hurry(made)
            self._stream = made

    async def _sweep(self, began: float) -> None:
        while due := await self._record.due(MOST, AGAIN):
            if self._looked_at < began:
                await self._look()
            results = await asyncio.gather(*(self._check(each) for each in due), return_exceptions=True)
            for each, result in zip(due, results, strict=True):
                if isinstance(result, Failed | Unavailable | NoFiles | Gap | QueueFull):
                    log.info("not_reconciled", id=each.id, reason=str(result) or type(result).__name__)
                elif isinstance(result, BaseException):
                    raise result
            if len(due) < MOST:
                return

    async def _check(self, due: Due) -> None:
        if due.gone:
            await self._let_go(due)
            return
        job, stream = due.job, due.stream
        if job is None and due.id in self._submitted:  # not noted yet, after more creates than can be in seconds
            job, stream, _ = self._submitted[due.id]
        if await self._on_its_way(job, stream):
            if due.cancel_requested_at:
                await self._broker.cancel(Cancel(id=due.id))
            await self._wake(due)
            return
        said = await self._broker.history(due.id)
        final = next((event for event in said if isinstance(event, FinalEvent)), None)
        if final is not None:
            await self._finish(final)
            return
        crash = max((event for event in said if isinstance(event, Crashed)), key=lambda e: e.attempt, default=None)
        if crash and crash.attempt > due.attempt and await self._on_its_way(crash.job, self._broker.jobs_made):
            await self._record.note_attempt(due.id, crash.attempt, crash.job, self._broker.jobs_made)
        elif due.cancel_requested_at:
            await self._broker.say(Canceled(id=due.id, run=None, at=datetime.now(UTC)))
        else:
            # Without a sequence the message may well be there: the same attempt again is swallowed if it came lately.
            attempt = due.attempt if due.job is None and crash is None else due.attempt + 1
            await self._publish_again(due, max(attempt, crash.attempt + 1 if crash else 1))

    async def _on_its_way(self, job: int | None, stream: datetime | None) -> bool:
        return job is not None and stream == self._broker.jobs_made and await self._broker.holds_job(job)

    async def _finish(self, final: FinalEvent) -> None:
        try:
            await self._recorder.record(final)
        except Gap:
            await self._recorder.start_over(final.id)

    async def _publish_again(self, due: Due, attempt: int) -> None:
        """Noted first: a gateway that dies in between leaves a row that is looked for again."""
        if not await self._record.note_attempt(due.id, attempt, None, None):
            return
        job = await job_of(due, self._files, attempt=attempt)
        sequence = await self._broker.submit(job, due.pool)
        log.info("published_again", id=due.id, attempt=attempt)
        await self._record.note_attempt(due.id, attempt, sequence, self._broker.jobs_made)
        await self._wake(due)

    async def _wake(self, due: Due) -> None:
        if due.kind == "predict":
            await self._broker.wake(due.pool, due.version)

    async def _let_go(self, due: Due) -> None:
        """End what is left of a deleted version: at once what nobody has started, the rest once it had time to stop."""
        said = await self._broker.history(due.id)
        if final := next((event for event in said if isinstance(event, FinalEvent)), None):
            await self._finish(final)
            return
        asked, now = due.cancel_requested_at, datetime.now(UTC)
        if asked is None:
            await self._record.wish_canceled(due.id)
        await self._broker.cancel(Cancel(id=due.id, reason=DELETED))
        if said and (asked is None or now - asked < STOPPED_BY):
            return
        await self._broker.say(Canceled(id=due.id, run=None, at=now, error=DELETED))
        if due.job is not None:
            await self._broker.discard_job(due.job)
