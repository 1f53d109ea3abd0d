"""The feed of all predictions of an account."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import asyncpg
import httpx
import pytest
from msgspec import json

from bus.client import Client
from gateway.events.account_feed import MAX_PENDING_CHANGES, AccountFeed
from gateway.events.subscriptions import Subscriber
from schemas import subjects
from schemas.changes import Change
from schemas.events import Failed
from schemas.prediction import Status
from tests.gateway.conftest import TOKEN, FakeRunner, now
from tests.gateway.test_predictions import create, show, until

PATH = "/v1/predictions/events"


class Reader:
    """The reader of one connection; `last` is where it may be resumed."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.aiter_lines()
        self.last = ""

    async def next(self) -> tuple[str, dict[str, Any]]:
        kind, data = "", ""
        async with asyncio.timeout(10):
            async for line in self._lines:
                name, _, value = line.partition(": ")
                match name:
                    case "id":
                        self.last = value
                    case "event":
                        kind = value
                    case "data":
                        data = value
                    case "" if not line and kind:
                        return kind, json.decode(data)
                    case _:
                        pass
        raise AssertionError("it ended")

    async def wait_until_open(self) -> None:
        """Wait for the id from which on nothing is missed."""
        async with asyncio.timeout(10):
            async for line in self._lines:
                if line.startswith("id: "):
                    self.last = line.removeprefix("id: ")
                    return

    async def states(self, count: int) -> list[tuple[str, str]]:
        data = [await self.next() for _ in range(count)]
        assert {kind for kind, _ in data} == {"prediction"}
        return [(p["id"], p["status"]) for _, p in data]


@asynccontextmanager
async def feed(client: httpx.AsyncClient, last: str | None = None, **headers: str) -> AsyncGenerator[Reader]:
    headers |= {"Last-Event-ID": last} if last else {}
    async with client.stream("GET", PATH, headers=headers) as response:
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        reader = Reader(response)
        if last is None:
            await reader.wait_until_open()
        yield reader


@pytest.fixture
async def other(start: Any, runner: FakeRunner) -> AsyncGenerator[httpx.AsyncClient]:
    """A second gateway."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(base_url=await start(), headers=headers, timeout=10, trust_env=False) as client:
        yield client


async def test_a_prediction_created_at_one_gateway_appears_at_the_other(
    client: httpx.AsyncClient, other: httpx.AsyncClient, runner: FakeRunner
):
    async with feed(other) as there, feed(client) as here:
        created = await create(client, "lines")
        assert await there.states(1) == await here.states(1) == [(created["id"], "starting")]
        job = await runner.next_job()
        run = await runner.publish_lines(job, ["a"])
        assert await there.states(1) == await here.states(1) == [(created["id"], "processing")]
        await runner.succeed(job, run, 1)
        assert await here.states(1) == [(created["id"], "succeeded")]
        kind, data = await there.next()
    whole = await show(client, created["id"])
    assert kind == "prediction"
    assert data.pop("urls") == {
        name: url.replace(str(client.base_url), str(other.base_url)) for name, url in whole["urls"].items()
    }
    assert data == {name: value for name, value in whole.items() if name in data}
    assert set(data) == set(whole) - {"input", "output", "logs", "data_removed", "urls"}


async def test_a_failure_appears_with_its_reason(client: httpx.AsyncClient, runner: FakeRunner):
    async with feed(client) as here:
        created = await create(client, "echo")
        job = await runner.next_job()
        await runner.publish(Failed(id=job.id, run=runner.next_run(), at=now(), error="no\nway"))
        _, data = await here.next()
        while data["status"] == "starting":
            _, data = await here.next()
    assert (data["id"], data["status"], data["error"]) == (created["id"], "failed", "no\nway")
    assert data["metrics"]["total_time"] >= 0


async def test_a_client_that_reconnects_has_missed_nothing(
    client: httpx.AsyncClient, other: httpx.AsyncClient, runner: FakeRunner
):
    async with feed(client) as here:
        first = await create(client, "echo")
        assert await here.states(1) == [(first["id"], "starting")]
        last = here.last
    second = await create(client, "echo")
    await runner.publish_echo(await runner.next_job())
    await until(client, first["id"], "succeeded")
    async with feed(other, last) as there:
        data: set[tuple[str, str]] = set()
        while not data >= {(first["id"], "succeeded"), (second["id"], "starting")}:  # the end may be recorded just now
            data |= set(await there.states(1))
        assert data <= {(first["id"], "starting"), (first["id"], "succeeded"), (second["id"], "starting")}
        await runner.publish_echo(await runner.next_job())
        assert await there.states(1) == [(second["id"], "succeeded")]


async def test_a_client_cut_off_before_the_first_event_can_resume(client: httpx.AsyncClient, runner: FakeRunner):
    async with feed(client) as here:
        last = here.last
    created = await create(client, "echo")
    query = f"{PATH}?last_event_id={last}"
    async with client.stream("GET", query) as response:
        assert await Reader(response).states(1) == [(created["id"], "starting")]


async def test_a_client_cut_off_again_and_again_gets_every_end(
    client: httpx.AsyncClient, other: httpx.AsyncClient, runner: FakeRunner
):
    both = client, other
    created: set[str] = set()
    ended: set[str] = set()

    async def work() -> None:
        for turn in range(24):
            created.add((await create(both[turn % 2], "echo"))["id"])
            await runner.publish_echo(await runner.next_job())

    async with feed(other) as first:
        last = first.last
    working = asyncio.create_task(work())
    async with asyncio.timeout(30):
        while len(ended) < 24:
            before = len(ended)
            async with feed(both[before // 3 % 2], last) as here:
                while len(ended) < min(before + 3, 24):
                    kind, data = await here.next()
                    assert kind == "prediction"
                    if data["status"] == "succeeded":
                        ended.add(data["id"])
                last = here.last
    await working
    assert ended == created


async def test_an_account_never_sees_another_ones_predictions(
    client: httpx.AsyncClient, runner: FakeRunner, database_url: str
):
    connection = await asyncpg.connect(database_url)
    await connection.execute("INSERT INTO accounts (username, name) VALUES ('eve', 'eve')")
    await connection.execute(
        "INSERT INTO tokens (hash, account) SELECT sha256('eves'), id FROM accounts WHERE username = 'eve'"
    )
    await connection.close()
    eve = "Bearer eves"
    body = {"input": {"text": "hi"}}
    async with feed(client) as ours, feed(client, authorization=eve) as theirs:
        last = theirs.last
        mine = await create(client, "echo")
        created = await client.post("/v1/models/acme/echo/predictions", json=body, headers={"authorization": eve})
        assert await theirs.states(1) == [(created.json()["id"], "starting")]
        assert await ours.states(1) == [(mine["id"], "starting")]
    async with feed(client, last, authorization=eve) as theirs:
        assert await theirs.states(1) == [(created.json()["id"], "starting")]


@pytest.mark.parametrize("last", ["x", "9" * 16, "9" * 40, "-1", "0"])
async def test_a_client_that_missed_too_much_reads_the_list_again(
    client: httpx.AsyncClient, runner: FakeRunner, database_url: str, last: str
):
    connection = await asyncpg.connect(database_url)
    await connection.execute(
        """INSERT INTO predictions (id, account, model, version, pool, input, created_at, due_at, completed_at, status)
           SELECT 'p' || n, (SELECT id FROM accounts), 'a/b', 'v', 'default', '{}', now(), now(), now(), 'failed'
             FROM generate_series(1, 1001) AS n"""
    )
    await connection.close()
    async with feed(client, last) as here:
        kind, _ = await here.next()
        assert kind == "reset"
        created = await create(client, "echo")
        assert await here.states(1) == [(created["id"], "starting")]


async def test_the_feed_requires_a_token(client: httpx.AsyncClient):
    assert (await client.get(PATH, headers={"Authorization": ""})).status_code == 401


async def test_a_slow_subscriber_holds_up_nobody(nc: Client):
    feed, slow, quick = AccountFeed(nc), Subscriber(), Subscriber()
    async with feed.subscribe(7, slow) as one, feed.subscribe(7, quick) as two:
        for number in range(MAX_PENDING_CHANGES + 1):
            await feed.publish([change(str(number))])
            if number % 100 == 99:
                await nc.flush()
                await two.next_changes()
        assert [each.id for each in await two.next_changes() or ()][-1] == str(MAX_PENDING_CHANGES)
        assert await one.next_changes() is None
        await feed.publish([change("later")])
        assert [each.id for each in await one.next_changes() or ()] == ["later"]


async def test_a_prediction_never_goes_back(nc: Client):
    feed, wakeup = AccountFeed(nc), Subscriber()
    async with feed.subscribe(7, wakeup) as subscriber:
        await feed.publish([change("a", 2), change("a", 1), change("b", 1), change("a", 2)])
        assert [(each.id, each.at.second) for each in await subscriber.next_changes() or ()] == [("a", 2), ("b", 1)]


async def test_many_changes_at_once_are_split_into_messages(nc: Client):
    feed, wakeup = AccountFeed(nc), Subscriber()
    async with feed.subscribe(7, wakeup) as subscriber:
        await feed.publish([change(str(number), error="x" * 200_000) for number in range(9)])
        changes: list[Change] = []
        while len(changes) < 9:
            changes += await subscriber.next_changes() or ()
        assert [each.id for each in changes] == [str(number) for number in range(9)]


async def test_the_subscription_ends_with_its_last_subscriber(nc: Client):
    feed = AccountFeed(nc)
    async with feed.subscribe(7, Subscriber()):
        pass
    assert await nc.flush() is None
    async with feed.subscribe(7, Subscriber()) as subscriber:
        await feed.publish([change("a")])
        assert [each.id for each in await subscriber.next_changes() or ()] == ["a"]
    assert subjects.account(7) == "account.7"


def change(id: str, second: int = 0, error: str | None = None) -> Change:
    at = datetime(2026, 1, 5, 9, 0, second, tzinfo=UTC)
    status = Status.FAILED if error else Status.STARTING
    return Change(id=id, account=7, at=at, model="a/b", version="v", status=status, created_at=at, error=error)
