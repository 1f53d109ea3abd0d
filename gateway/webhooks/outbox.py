"""Sends what is due to webhooks: every gateway does, each what no other has in hand."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, Protocol

import structlog

from gateway.background import attempt, every
from gateway.broker import Failed
from gateway.errors import Unavailable
from gateway.store.deliveries import State, Taken
from gateway.webhooks.sender import Outcome, Retries

log = structlog.get_logger("samovar.outbox")

EVERY: Final = 5.0  # seconds between looks for what other gateways left
AGAIN: Final = 1.0  # the same while the record is away
LATE: Final = 0.01  # seconds; by the clock of the record it may not be due before
MOST: Final = 64  # requests at once
OF_HOST: Final = 8  # of them to one host, so that one that hangs leaves room for others
TIDY: Final = 60.0  # seconds
FORGOTTEN: Final = 5000  # at a time


class Record(Protocol):
    async def take(self, most: int, of_host: int, busy: Counter[str], lease: timedelta) -> list[Taken]: ...
    async def settle(
        self, taken: Taken, state: State, due: datetime | None, *, seconds: float, status: int | None, error: str | None
    ) -> None: ...
    async def forget(self, age: timedelta, most: int) -> None: ...


class Outbox:
    """`send` makes one attempt; `limit` is how long it may take at most, and `due` is set when there may be something.

    What a gateway has in hand when it dies is due again when its lease ends, and goes out under the same id.
    """

    def __init__(
        self,
        record: Record,
        send: Callable[[Taken], Awaitable[Outcome]],
        due: asyncio.Event,
        *,
        retries: Retries,
        limit: float,
        keep: timedelta,
    ) -> None:
        self._record = record
        self._send = send
        self._due = due
        self._retries = retries
        self._lease = timedelta(seconds=2 * limit + 1)
        self._keep = keep
        self._in_hand: dict[asyncio.Task[None], str] = {}

    async def serve(self) -> None:
        """Until it is cancelled."""
        try:
            while True:
                self._due.clear()
                pause = AGAIN
                try:
                    await self._look()
                    pause = EVERY
                except Unavailable as error:
                    log.info("webhooks_wait", reason=str(error))
                except Exception:
                    log.exception("webhooks_failed")
                with suppress(TimeoutError):
                    # Not `wait_for`: that of Python 3.11 loses a stop that comes with its result.
                    async with asyncio.timeout(pause):
                        await self._due.wait()
        finally:
            for task in self._in_hand:
                task.cancel()
            if self._in_hand:
                await asyncio.wait(self._in_hand)

    async def tidy(self) -> None:
        """Forget old deliveries, at once and until it is cancelled."""
        forget, name = partial(self._record.forget, self._keep, FORGOTTEN), "log of webhooks"
        await attempt(forget, name)
        await every(TIDY, forget, name)

    async def _look(self) -> None:
        room = MOST - len(self._in_hand)
        if room <= 0:
            return
        busy = Counter(self._in_hand.values())
        for taken in await self._record.take(room, OF_HOST, busy, self._lease):
            if taken.dropped:  # what has outdated it is due now
                self._due.set()
                continue
            task = asyncio.create_task(self._deliver(taken))
            self._in_hand[task] = taken.host
            task.add_done_callback(self._delivered)

    def _delivered(self, task: asyncio.Task[None]) -> None:
        del self._in_hand[task]
        self._due.set()

    async def _deliver(self, taken: Taken) -> None:
        try:
            outcome = await self._send(taken)
            state, again = self._retries.after(taken, outcome, datetime.now(UTC))
            await self._record.settle(
                taken, state, again, seconds=outcome.seconds, status=outcome.status, error=outcome.error
            )
            if again is not None:
                left = (again - datetime.now(UTC)).total_seconds()
                asyncio.get_running_loop().call_later(left + LATE, self._due.set)
        except (Unavailable, Failed) as error:  # it is due again when its lease ends
            log.info("webhook_waits", id=taken.id, reason=str(error))
        except Exception:
            log.exception("webhook_failed", id=taken.id)
        else:
            log.info(
                "webhook_sent",
                id=taken.id,
                prediction=taken.prediction,
                of=taken.event,
                attempt=taken.attempt,
                state=state,
                status=outcome.status,
                reason=outcome.error,
            )
