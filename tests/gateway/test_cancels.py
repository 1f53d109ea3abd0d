"""Deadlines are looked at as they come, and not all the time."""

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
from gateway.predictions.cancellation import EVERY, Cancels
from gateway.store.connection import connected
from gateway.store.predictions import Predictions
from schemas import subjects
from schemas.prediction import Prediction


@dataclass
class Gateway:
    record: Predictions
    cancels: Cancels
    wishes: Subscription

    async def accept(self, id: str, seconds: float) -> datetime:
        now = datetime.now(UTC)
        deadline = now + timedelta(seconds=seconds)
        made = Prediction(
            id=id, account=1, model="a/b", version="v", input=Raw(b"{}"), created_at=now, deadline=deadline
        )
        await self.record.create(made, "default")
        return deadline

    async def late(self, within: float) -> str:
        """Of whom agents are told next."""
        return json.decode((await self.wishes.next_msg(within)).data)["id"]

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator[None]:
        task = asyncio.create_task(self.cancels.serve())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])


@pytest.fixture
async def gateway(database_url: str, nats_url: str, nc: Client, js: JetStreamContext) -> AsyncGenerator[Gateway]:
    async with connected(database_url, 4) as pool, brokers.connected(nats_url, lambda: None) as client:
        await pool.execute("INSERT INTO accounts (username, name) VALUES ('a', 'a')")
        record = Predictions(pool)
        yield Gateway(record, Cancels(record, Broker(client, {})), await nc.subscribe(subjects.CANCELS))


async def test_the_next_deadline_is_the_first_that_nobody_was_told_of(gateway: Gateway):
    record = gateway.record
    assert await record.until_deadline() is None
    for id, seconds in (("far", 7200), ("near", 3600), ("past", -1)):
        await gateway.accept(id, seconds)
    assert (await record.until_deadline() or 0) < 0
    assert await record.overdue(10) == ["past"]
    assert 3500 < (await record.until_deadline() or 0) < 3700


async def test_a_deadline_that_comes_before_the_next_look_is_kept(gateway: Gateway):
    async with gateway.serving():
        await gateway.accept("of another gateway", -1)
        assert await gateway.late(within=EVERY + 2) == "of another gateway"
        # It has just looked, and would not do so again for long.
        gateway.cancels.expect(await gateway.accept("later", 0.6))
        gateway.cancels.expect(await gateway.accept("sooner", 0.2))
        assert await gateway.late(within=EVERY - 2) == "sooner"
        assert await gateway.late(within=EVERY - 2) == "later"


async def test_a_deadline_from_before_a_start_is_kept(gateway: Gateway):
    await gateway.accept("soon", 0.3)
    async with gateway.serving():
        assert await gateway.late(within=EVERY - 2) == "soon"
