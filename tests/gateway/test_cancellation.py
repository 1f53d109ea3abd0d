"""Deadlines are checked as they come, and not all the time."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from msgspec import Raw, json
from nats.aio.client import Client
from nats.aio.subscription import Subscription
from nats.js import JetStreamContext

from gateway import broker as brokers
from gateway.broker import Broker
from gateway.predictions.cancellation import DEADLINE_CHECK_SECONDS, Cancellations
from gateway.store.connection import open_pool
from gateway.store.predictions import PredictionStore
from schemas import subjects
from schemas.prediction import Prediction


@dataclass
class Gateway:
    store: PredictionStore
    cancellations: Cancellations
    requests: Subscription

    async def accept(self, id: str, seconds: float) -> datetime:
        now = datetime.now(UTC)
        deadline = now + timedelta(seconds=seconds)
        p = Prediction(id=id, account=1, model="a/b", version="v", input=Raw(b"{}"), created_at=now, deadline=deadline)
        await self.store.create(p, "default")
        return deadline

    async def next_canceled(self, within: float) -> str:
        """Return the id of the prediction that runners are told to cancel next."""
        return json.decode((await self.requests.next_msg(within)).data)["id"]

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator[None]:
        task = asyncio.create_task(self.cancellations.serve())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])


@pytest.fixture
async def gateway(database_url: str, nats_url: str, nc: Client, js: JetStreamContext) -> AsyncGenerator[Gateway]:
    async with open_pool(database_url, 4) as pool, brokers.connect(nats_url, lambda: None) as client:
        await pool.execute("INSERT INTO accounts (username, name) VALUES ('a', 'a')")
        store = PredictionStore(pool)
        yield Gateway(store, Cancellations(store, Broker(client, {})), await nc.subscribe(subjects.CANCELS))


async def test_the_next_deadline_is_the_first_that_was_not_handled(gateway: Gateway):
    store = gateway.store
    assert await store.seconds_to_deadline() is None
    for id, seconds in (("far", 7200), ("near", 3600), ("past", -1)):
        await gateway.accept(id, seconds)
    assert (await store.seconds_to_deadline() or 0) < 0
    assert await store.take_overdue(10) == ["past"]
    assert 3500 < (await store.seconds_to_deadline() or 0) < 3700


async def test_a_deadline_before_the_next_check_is_met(gateway: Gateway):
    async with gateway.serving():
        await gateway.accept("of another gateway", -1)
        assert await gateway.next_canceled(within=DEADLINE_CHECK_SECONDS + 2) == "of another gateway"
        # It has just checked, and would not do so again for long.
        gateway.cancellations.note_deadline(await gateway.accept("later", 0.6))
        gateway.cancellations.note_deadline(await gateway.accept("sooner", 0.2))
        assert await gateway.next_canceled(within=DEADLINE_CHECK_SECONDS - 2) == "sooner"
        assert await gateway.next_canceled(within=DEADLINE_CHECK_SECONDS - 2) == "later"


async def test_a_deadline_from_before_a_start_is_met(gateway: Gateway):
    await gateway.accept("soon", 0.3)
    async with gateway.serving():
        assert await gateway.next_canceled(within=DEADLINE_CHECK_SECONDS - 2) == "soon"
