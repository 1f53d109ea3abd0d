"""The deliveries of webhooks in the record."""

from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from msgspec import Raw, structs

from gateway.store.connection import open_pool
from gateway.store.deliveries import DeliveryStore, LeasedDelivery
from gateway.store.predictions import PredictionStore
from schemas.events import Run
from schemas.prediction import Prediction, Status

AT = datetime(2026, 1, 5, 9, tzinfo=UTC)
RUN = Run(1, 1_000, "a")
MINUTE = timedelta(minutes=1)
NOW = timedelta()
CREATED = Prediction(
    id="p" * 26,
    account=1,
    model="a/b",
    version="v",
    input=Raw(b"{}"),
    created_at=AT,
    webhook="https://example.com/hook",
    webhook_events=("start", "output", "logs", "completed"),
)
ENDED = structs.replace(CREATED, status=Status.SUCCEEDED, started_at=AT, completed_at=AT, run=RUN)


@dataclass
class Deliveries:
    predictions: PredictionStore
    deliveries: DeliveryStore
    pool: asyncpg.Pool

    async def lease(
        self, most: int = 64, of_host: int = 8, *, busy: dict[str, int] | None = None, lease: timedelta = MINUTE
    ):
        return await self.deliveries.lease_due(most, of_host, busy or {}, lease)

    async def record_attempt(
        self, delivery: LeasedDelivery, state: Any = "delivered", due: datetime | None = None
    ) -> None:
        await self.deliveries.record_attempt(delivery, state, due, seconds=0.1, status=200, error=None)

    async def states(self) -> list[tuple[str, str]]:
        rows = await self.pool.fetch("SELECT event, state FROM deliveries ORDER BY sequence")
        return [(row["event"], row["state"]) for row in rows]


@pytest.fixture
async def deliveries(database_url: str) -> AsyncGenerator[Deliveries]:
    async with open_pool(database_url, 4) as pool:
        await pool.execute("INSERT INTO accounts (username, name) VALUES ('a', 'a')")
        yield Deliveries(PredictionStore(pool), DeliveryStore(pool), pool)


async def test_deliveries_go_one_after_the_other_and_outdated_ones_are_dropped(deliveries: Deliveries):
    await deliveries.predictions.create(CREATED, "default")
    assert await deliveries.deliveries.queue_progress({CREATED.id: "output"}) == {
        CREATED.id: False
    }  # nothing before its start
    await deliveries.predictions.start([(CREATED.id, AT, RUN)])
    await deliveries.predictions.start([(CREATED.id, AT, RUN)])  # said again
    for _ in range(2):
        assert await deliveries.deliveries.queue_progress({CREATED.id: "output"}) == {CREATED.id: True}
    assert await deliveries.states() == [("start", "pending"), ("output", "pending")]
    [first] = await deliveries.lease()
    assert first.event == "start"
    assert await deliveries.lease() == []  # the next one waits for it
    await deliveries.predictions.finish(ENDED)
    await deliveries.predictions.finish(ENDED)
    assert await deliveries.deliveries.queue_progress({CREATED.id: "output"}) == {}
    await deliveries.record_attempt(first)
    [outdated] = await deliveries.lease()
    assert (outdated.event, outdated.dropped) == ("output", True)
    [last] = await deliveries.lease()
    await deliveries.record_attempt(last)
    assert await deliveries.states() == [("start", "delivered"), ("output", "dropped"), ("completed", "delivered")]


async def test_the_next_output_may_wait_while_one_is_being_sent(deliveries: Deliveries):
    await deliveries.predictions.create(structs.replace(CREATED, webhook_events=("output",)), "default")
    await deliveries.predictions.start([(CREATED.id, AT, RUN)])
    await deliveries.deliveries.queue_progress({CREATED.id: "output"})
    await deliveries.lease()
    for _ in range(2):
        await deliveries.deliveries.queue_progress({CREATED.id: "output"})
    assert await deliveries.states() == [("output", "pending")] * 2


async def test_an_expired_lease_passes_on_and_its_old_holder_can_only_deliver(deliveries: Deliveries):
    await deliveries.predictions.create(CREATED, "default")
    await deliveries.predictions.finish(structs.replace(ENDED, started_at=None))
    [slow] = await deliveries.lease(lease=NOW)
    [quick] = await deliveries.lease()
    assert (quick.id, quick.attempt) == (slow.id, slow.attempt + 1)
    await deliveries.record_attempt(slow, "failed")
    assert await deliveries.states() == [("completed", "pending")]
    await deliveries.record_attempt(slow, "delivered")
    await deliveries.record_attempt(quick, "failed")
    assert await deliveries.states() == [("completed", "delivered")]


async def test_no_host_gets_more_than_its_share_and_none_waits_for_another(deliveries: Deliveries):
    hosts = ["slow.example"] * 30 + ["quick.example"] * 3 + ["other.example:8080"] * 3
    for number, host in enumerate(hosts):
        p = structs.replace(ENDED, id=f"{number:026}", webhook=f"https://{host}/hook?to=//x")
        await deliveries.predictions.create(p, "default")
        await deliveries.predictions.finish(structs.replace(p, started_at=None))
    delivery = await deliveries.lease(of_host=4, busy={"slow.example": 2})
    assert Counter(each.host for each in delivery) == {"slow.example": 2, "quick.example": 3, "other.example:8080": 3}
    assert len(await deliveries.lease(most=3, of_host=30)) == 3
    assert await deliveries.lease(of_host=4, busy={"slow.example": 4}) == []


async def test_a_prediction_without_webhook_has_no_deliveries(deliveries: Deliveries):
    await deliveries.predictions.create(structs.replace(CREATED, webhook=None), "default")
    await deliveries.predictions.start([(CREATED.id, AT, RUN)])
    assert await deliveries.deliveries.queue_progress({CREATED.id: "output"}) == {}
    await deliveries.predictions.finish(ENDED)
    assert await deliveries.states() == []
