"""Ending predictions early: a job that nobody has started ends here, a running one where it runs."""

import asyncio
import math
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

import structlog

from gateway.background import attempt
from gateway.broker import SECOND_FINAL, Broker, Failed
from gateway.store.predictions import Predictions
from schemas.events import Canceled, Crashed
from schemas.jobs import Cancel
from schemas.prediction import FINAL, Prediction

log = structlog.get_logger("samovar.cancels")

EVERY: Final = 5.0  # seconds between looks at the deadlines, of which other gateways may have accepted some
AGAIN: Final = 0.5  # the same while the record is away
LEAST: Final = 0.02  # the same while another gateway has those that are due
MOST: Final = 200
LATE: Final = "The deadline (Cancel-After) was reached."
DELETED: Final = "The version was deleted."
LATE_BEFORE_START: Final = "The deadline (Cancel-After) was reached before start."


class Cancels:
    def __init__(self, record: Predictions, broker: Broker) -> None:
        self._record = record
        self._broker = broker
        self._due = math.inf
        """When to look next, as the loop counts."""
        self._sooner = asyncio.Event()

    async def serve(self) -> None:
        """Look after deadlines, until it is cancelled: at each as it comes, and now and then for those of others."""
        while True:
            self._sooner.clear()
            await attempt(self._look, "deadlines")
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._due):
                    await self._sooner.wait()

    def expect(self, deadline: datetime) -> None:
        """Of a prediction that was just accepted here."""
        due = asyncio.get_running_loop().time() + (deadline - datetime.now(UTC)).total_seconds()
        if due < self._due:
            self._due = due
            self._sooner.set()

    async def _look(self) -> None:
        self._due, pause = math.inf, AGAIN  # what is accepted meanwhile is looked for, whenever it is due
        try:
            await self._end_late()
            left = await self._record.until_deadline()
            pause = EVERY if left is None else min(EVERY, max(LEAST, left))
        finally:
            self._due = asyncio.get_running_loop().time() + pause

    async def _end_late(self) -> None:
        late = await self._record.overdue(MOST)
        await asyncio.gather(*(self.cancel(id, LATE, LATE_BEFORE_START) for id in late))

    async def ask(self, p: Prediction) -> bool:
        """Somebody wants it canceled: noted, then told. False: it has ended."""
        if p.status in FINAL or not await self._record.wish_canceled(p.id, p.account):
            return False
        await self.cancel(p.id)
        return True

    async def cancel(self, id: str, reason: str | None = None, unstarted: str | None = None) -> None:
        """The wish has been noted; what does not get through now, the reconciler says again."""
        try:
            await self._broker.cancel(Cancel(id=id, reason=reason))
            said = await self._broker.history(id)
            # What is said at once is said before `Started`: whoever has said anything has it, and ends it.
            if any(not isinstance(event, Crashed) for event in said):
                return
            await self._broker.say(Canceled(id=id, run=None, at=datetime.now(UTC), error=unstarted or reason))
        except Failed as error:
            if error.code != SECOND_FINAL:
                log.info("cancel_waits", id=id, reason=str(error))
