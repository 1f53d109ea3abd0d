"""The sender of due webhooks: every gateway sends, each what no other has in hand."""

import asyncio
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, Protocol

import structlog

from gateway.background import run_every, run_guarded
from gateway.broker import BrokerError
from gateway.errors import Unavailable
from gateway.store.deliveries import DeliveryState, LeasedDelivery
from gateway.webhooks.sender import RetryPolicy, WebhookSender

log = structlog.get_logger("samovar.outbox")

POLL_SECONDS: Final = 5.0  # between searches for what other gateways left
RETRY_SECONDS: Final = 1.0  # until a database that was away is asked again
CLOCK_SLACK_SECONDS: Final = 0.01  # by the clock of the database it may not be due before
MAX_CONCURRENT: Final = 64  # requests
MAX_CONCURRENT_PER_HOST: Final = 8  # so that a host that hangs leaves room for others
CLEANUP_SECONDS: Final = 60.0
MAX_CLEANUP_ROWS: Final = 5000  # at a time


class DeliveryQueue(Protocol):
    """The stored deliveries, which gateways lease."""

    async def lease_due(
        self, limit: int, per_host: int, busy: Counter[str], lease: timedelta
    ) -> list[LeasedDelivery]: ...
    async def record_attempt(
        self,
        delivery: LeasedDelivery,
        state: DeliveryState,
        due: datetime | None,
        *,
        seconds: float,
        status: int | None,
        error: str | None,
    ) -> None: ...
    async def delete_ended(self, age: timedelta, limit: int) -> None: ...


class Outbox:
    """The deliveries that this gateway has in hand, and when it looks for more.

    An attempt may take `timeout` seconds. `due` is set when there may be something to send. What a gateway has in hand
    when it dies is due again when its lease ends, and goes out under the same id.
    """

    def __init__(
        self,
        store: DeliveryQueue,
        sender: WebhookSender,
        due: asyncio.Event,
        *,
        retries: RetryPolicy,
        timeout: float,
        log_age: timedelta,
    ) -> None:
        self._store = store
        self._sender = sender
        self._due = due
        self._retries = retries
        self._lease = timedelta(seconds=2 * timeout + 1)
        self._log_age = log_age
        self._in_hand: dict[asyncio.Task[None], str] = {}
        """Deliveries, and the hosts that they go to."""

    async def serve(self) -> None:
        """Send what is due until cancelled."""
        try:
            while True:
                self._due.clear()
                pause = RETRY_SECONDS
                try:
                    await self._start_due()
                    pause = POLL_SECONDS
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

    async def delete_old(self) -> None:
        """Delete old deliveries, at once and again and again, until cancelled."""
        delete, name = partial(self._store.delete_ended, self._log_age, MAX_CLEANUP_ROWS), "log of webhooks"
        await run_guarded(delete, name)
        await run_every(CLEANUP_SECONDS, delete, name)

    async def _start_due(self) -> None:
        room = MAX_CONCURRENT - len(self._in_hand)
        if room <= 0:
            return
        busy = Counter(self._in_hand.values())
        for delivery in await self._store.lease_due(room, MAX_CONCURRENT_PER_HOST, busy, self._lease):
            if delivery.dropped:  # what has outdated it is due now
                self._due.set()
                continue
            task = asyncio.create_task(self._deliver(delivery))
            self._in_hand[task] = delivery.host
            task.add_done_callback(self._release)

    def _release(self, task: asyncio.Task[None]) -> None:
        del self._in_hand[task]
        self._due.set()

    async def _deliver(self, delivery: LeasedDelivery) -> None:
        try:
            outcome = await self._sender.send(delivery)
            state, retry_at = self._retries.next_state(delivery, outcome, datetime.now(UTC))
            await self._store.record_attempt(
                delivery, state, retry_at, seconds=outcome.seconds, status=outcome.status, error=outcome.error
            )
            if retry_at is not None:
                remaining = (retry_at - datetime.now(UTC)).total_seconds()
                asyncio.get_running_loop().call_later(remaining + CLOCK_SLACK_SECONDS, self._due.set)
        except (Unavailable, BrokerError) as error:  # it is due again when its lease ends
            log.info("webhook_waits", id=delivery.id, reason=str(error))
        except Exception:
            log.exception("webhook_failed", id=delivery.id)
        else:
            log.info(
                "webhook_sent",
                id=delivery.id,
                prediction=delivery.prediction,
                of=delivery.event,
                attempt=delivery.attempt,
                state=state,
                status=outcome.status,
                reason=outcome.error,
            )
