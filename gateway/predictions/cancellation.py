"""The cancellation of predictions: a job that nobody has started ends here, a running one where it runs."""

import asyncio
import math
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

import structlog

from gateway.background import run_guarded
from gateway.broker import DUPLICATE_FINAL, Broker, BrokerError
from gateway.store.predictions import PredictionStore
from schemas.events import Canceled, Crashed
from schemas.jobs import Cancel
from schemas.prediction import FINAL, Prediction

log = structlog.get_logger("samovar.cancellation")

DEADLINE_CHECK_SECONDS: Final = 5.0  # at most between two checks: other gateways accept deadlines, too
RETRY_SECONDS: Final = 0.5  # the same while the database is away
MIN_PAUSE_SECONDS: Final = 0.02  # the same while another gateway handles those that are due
MAX_BATCH: Final = 200
DEADLINE_REACHED: Final = "The deadline (Cancel-After) was reached."
VERSION_DELETED: Final = "The version was deleted."
DEADLINE_REACHED_BEFORE_START: Final = "The deadline (Cancel-After) was reached before start."


class Cancellations:
    """The end of predictions that somebody cancels, or whose deadline has passed.

    It owns the time of the next deadline. Used by the routes, the submitter, and the deletion of versions.
    """

    def __init__(self, store: PredictionStore, broker: Broker) -> None:
        self._store = store
        self._broker = broker
        self._next_check = math.inf
        """When to check the deadlines next, by the clock of the event loop."""
        self._wakeup = asyncio.Event()

    async def serve(self) -> None:
        """Cancel predictions at their deadlines, including other gateways' ones, until cancelled."""
        while True:
            self._wakeup.clear()
            await run_guarded(self._check_deadlines, "deadlines")
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._next_check):
                    await self._wakeup.wait()

    def note_deadline(self, deadline: datetime) -> None:
        """Note the deadline of a prediction that was just accepted here."""
        due = asyncio.get_running_loop().time() + (deadline - datetime.now(UTC)).total_seconds()
        if due < self._next_check:
            self._next_check = due
            self._wakeup.set()

    async def _check_deadlines(self) -> None:
        self._next_check = math.inf  # a deadline that is accepted meanwhile counts, whenever it is due
        pause = RETRY_SECONDS
        try:
            await self._cancel_overdue()
            remaining = await self._store.seconds_to_deadline()
            if remaining is None:
                pause = DEADLINE_CHECK_SECONDS
            else:
                pause = min(DEADLINE_CHECK_SECONDS, max(MIN_PAUSE_SECONDS, remaining))
        finally:
            self._next_check = asyncio.get_running_loop().time() + pause

    async def _cancel_overdue(self) -> None:
        overdue = await self._store.take_overdue(MAX_BATCH)
        await asyncio.gather(*(self.cancel(id, DEADLINE_REACHED, DEADLINE_REACHED_BEFORE_START) for id in overdue))

    async def request(self, p: Prediction) -> bool:
        """Cancel a prediction at a client's request. Returns False if it has ended.

        The request is noted in the record first, then passed on.
        """
        if p.status in FINAL or not await self._store.request_cancel(p.id, p.account):
            return False
        await self.cancel(p.id)
        return True

    async def cancel(self, id: str, reason: str | None = None, unstarted: str | None = None) -> None:
        """Cancel a prediction whose request is noted: what does not get through now, the reconciler repeats.

        `reason` is its error, or `unstarted` if nobody has started it.
        """
        try:
            await self._broker.cancel(Cancel(id=id, reason=reason))
            events = await self._broker.read_events(id)
            # A run's first output may come before `Started`: whoever has published any event has the job, and ends it.
            if any(not isinstance(event, Crashed) for event in events):
                return
            await self._broker.publish_event(Canceled(id=id, run=None, at=datetime.now(UTC), error=unstarted or reason))
        except BrokerError as error:
            if error.code != DUPLICATE_FINAL:
                log.info("cancel_waits", id=id, reason=str(error))
