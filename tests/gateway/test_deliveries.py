"""What is to be sent to webhooks, as the record has it."""

from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from msgspec import Raw, structs

from gateway.store.connection import connected
from gateway.store.deliveries import Deliveries, Taken
from gateway.store.predictions import Predictions
from schemas.events import Run
from schemas.prediction import Prediction, Status

AT = datetime(2026, 1, 5, 9, tzinfo=UTC)
RUN = Run(1, 1_000, "a")
MINUTE = timedelta(minutes=1)
NOW = timedelta()
MADE = Prediction(
    id="p" * 26,
    account=1,
    model="a/b",
    version="v",
    input=Raw(b"{}"),
    created_at=AT,
    webhook="https://example.com/hook",
    webhook_events=("start", "output", "logs", "completed"),
)
ENDED = structs.replace(MADE, status=Status.SUCCEEDED, started_at=AT, completed_at=AT, run=RUN)


@dataclass
class Records:
    predictions: Predictions
    deliveries: Deliveries
    pool: asyncpg.Pool

    async def take(
        self, most: int = 64, of_host: int = 8, *, busy: dict[str, int] | None = None, lease: timedelta = MINUTE
    ):
        return await self.deliveries.take(most, of_host, busy or {}, lease)

    async def settle(self, taken: Taken, state: Any = "delivered", due: datetime | None = None) -> None:
        await self.deliveries.settle(taken, state, due, seconds=0.1, status=200, error=None)

    async def states(self) -> list[tuple[str, str]]:
        rows = await self.pool.fetch("SELECT event, state FROM deliveries ORDER BY sequence")
        return [(row["event"], row["state"]) for row in rows]


@pytest.fixture
async def records(database_url: str) -> AsyncGenerator[Records]:
    async with connected(database_url, 4) as pool:
        await pool.execute("INSERT INTO accounts (username, name) VALUES ('a', 'a')")
        yield Records(Predictions(pool), Deliveries(pool), pool)


async def test_one_after_the_other_and_what_is_outdated_is_dropped(records: Records):
    await records.predictions.create(MADE, "default")
    assert await records.deliveries.progress({MADE.id: "output"}) == {MADE.id: False}  # nothing before its start
    await records.predictions.start([(MADE.id, AT, RUN)])
    await records.predictions.start([(MADE.id, AT, RUN)])  # said again
    for _ in range(2):
        assert await records.deliveries.progress({MADE.id: "output"}) == {MADE.id: True}
    assert await records.states() == [("start", "pending"), ("output", "pending")]
    [first] = await records.take()
    assert first.event == "start"
    assert await records.take() == []  # the next one waits for it
    await records.predictions.finish(ENDED)
    await records.predictions.finish(ENDED)
    assert await records.deliveries.progress({MADE.id: "output"}) == {}
    await records.settle(first)
    [outdated] = await records.take()
    assert (outdated.event, outdated.dropped) == ("output", True)
    [last] = await records.take()
    await records.settle(last)
    assert await records.states() == [("start", "delivered"), ("output", "dropped"), ("completed", "delivered")]


async def test_the_next_output_may_wait_while_one_is_being_sent(records: Records):
    await records.predictions.create(structs.replace(MADE, webhook_events=("output",)), "default")
    await records.predictions.start([(MADE.id, AT, RUN)])
    await records.deliveries.progress({MADE.id: "output"})
    await records.take()
    for _ in range(2):
        await records.deliveries.progress({MADE.id: "output"})
    assert await records.states() == [("output", "pending")] * 2


async def test_a_lease_that_ends_lets_another_take_it_and_the_slow_one_can_only_deliver(records: Records):
    await records.predictions.create(MADE, "default")
    await records.predictions.finish(structs.replace(ENDED, started_at=None))
    [slow] = await records.take(lease=NOW)
    [quick] = await records.take()
    assert (quick.id, quick.attempt) == (slow.id, slow.attempt + 1)
    await records.settle(slow, "failed")
    assert await records.states() == [("completed", "pending")]
    await records.settle(slow, "delivered")
    await records.settle(quick, "failed")
    assert await records.states() == [("completed", "delivered")]


async def test_no_host_gets_more_than_its_share_and_none_waits_for_another(records: Records):
    hosts = ["slow.example"] * 30 + ["quick.example"] * 3 + ["other.example:8080"] * 3
    for number, host in enumerate(hosts):
        p = structs.replace(ENDED, id=f"{number:026}", webhook=f"https://{host}/hook?to=//x")
        await records.predictions.create(p, "default")
        await records.predictions.finish(structs.replace(p, started_at=None))
    taken = await records.take(of_host=4, busy={"slow.example": 2})
    assert Counter(each.host for each in taken) == {"slow.example": 2, "quick.example": 3, "other.example:8080": 3}
    assert len(await records.take(most=3, of_host=30)) == 3
    assert await records.take(of_host=4, busy={"slow.example": 4}) == []


async def test_who_has_no_webhook_is_told_nothing(records: Records):
    await records.predictions.create(structs.replace(MADE, webhook=None), "default")
    await records.predictions.start([(MADE.id, AT, RUN)])
    assert await records.deliveries.progress({MADE.id: "output"}) == {}
    await records.predictions.finish(ENDED)
    assert await records.states() == []
