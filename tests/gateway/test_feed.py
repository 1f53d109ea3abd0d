"""All predictions of an account as one stream."""

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
from gateway.events.account_feed import MOST, Feed
from gateway.events.subscriptions import Ear
from schemas import subjects
from schemas.changes import Change
from schemas.events import Failed
from schemas.prediction import Status
from tests.gateway.conftest import TOKEN, Runner, now
from tests.gateway.test_predictions import create, show, until

PATH = "/v1/predictions/events"


class Reader:
    """Of one connection: what was told, and where it may go on."""

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

    async def begun(self) -> None:
        """It is listened to from here on."""
        async with asyncio.timeout(10):
            async for line in self._lines:
                if line.startswith("id: "):
                    self.last = line.removeprefix("id: ")
                    return

    async def states(self, count: int) -> list[tuple[str, str]]:
        told = [await self.next() for _ in range(count)]
        assert {kind for kind, _ in told} == {"prediction"}
        return [(p["id"], p["status"]) for _, p in told]


@asynccontextmanager
async def feed(client: httpx.AsyncClient, last: str | None = None, **headers: str) -> AsyncGenerator[Reader]:
    headers |= {"Last-Event-ID": last} if last else {}
    async with client.stream("GET", PATH, headers=headers) as response:
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        reader = Reader(response)
        if last is None:
            await reader.begun()
        yield reader


@pytest.fixture
async def other(start: Any, runner: Runner) -> AsyncGenerator[httpx.AsyncClient]:
    """A second gateway."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(base_url=await start(), headers=headers, timeout=10, trust_env=False) as client:
        yield client


async def test_what_is_made_at_one_gateway_is_seen_at_the_other(
    client: httpx.AsyncClient, other: httpx.AsyncClient, runner: Runner
):
    async with feed(other) as there, feed(client) as here:
        made = await create(client, "lines")
        assert await there.states(1) == await here.states(1) == [(made["id"], "starting")]
        job = await runner.job()
        run = await runner.lines(job, ["a"])
        assert await there.states(1) == await here.states(1) == [(made["id"], "processing")]
        await runner.end(job, run, 1)
        assert await here.states(1) == [(made["id"], "succeeded")]
        kind, told = await there.next()
    whole = await show(client, made["id"])
    assert kind == "prediction"
    assert told.pop("urls") == {
        name: url.replace(str(client.base_url), str(other.base_url)) for name, url in whole["urls"].items()
    }
    assert told == {name: value for name, value in whole.items() if name in told}
    assert set(told) == set(whole) - {"input", "output", "logs", "data_removed", "urls"}


async def test_a_failure_is_told_with_its_reason(client: httpx.AsyncClient, runner: Runner):
    async with feed(client) as here:
        made = await create(client, "echo")
        job = await runner.job()
        await runner.say(Failed(id=job.id, run=runner.run(), at=now(), error="no\nway"))
        _, told = await here.next()
        while told["status"] == "starting":
            _, told = await here.next()
    assert (told["id"], told["status"], told["error"]) == (made["id"], "failed", "no\nway")
    assert told["metrics"]["total_time"] >= 0


async def test_who_comes_back_has_missed_nothing(client: httpx.AsyncClient, other: httpx.AsyncClient, runner: Runner):
    async with feed(client) as here:
        first = await create(client, "echo")
        assert await here.states(1) == [(first["id"], "starting")]
        last = here.last
    second = await create(client, "echo")
    await runner.echo(await runner.job())
    await until(client, first["id"], "succeeded")
    async with feed(other, last) as there:
        told: set[tuple[str, str]] = set()
        while not told >= {(first["id"], "succeeded"), (second["id"], "starting")}:  # the end may be recorded just now
            told |= set(await there.states(1))
        assert told <= {(first["id"], "starting"), (first["id"], "succeeded"), (second["id"], "starting")}
        await runner.echo(await runner.job())
        assert await there.states(1) == [(second["id"], "succeeded")]


async def test_who_is_cut_off_before_the_first_event_can_come_back_too(client: httpx.AsyncClient, runner: Runner):
    async with feed(client) as here:
        last = here.last
    made = await create(client, "echo")
    query = f"{PATH}?last_event_id={last}"
    async with client.stream("GET", query) as response:
        assert await Reader(response).states(1) == [(made["id"], "starting")]


async def test_every_end_is_told_to_who_is_cut_off_again_and_again(
    client: httpx.AsyncClient, other: httpx.AsyncClient, runner: Runner
):
    both = client, other
    made: set[str] = set()
    ended: set[str] = set()

    async def work() -> None:
        for turn in range(24):
            made.add((await create(both[turn % 2], "echo"))["id"])
            await runner.echo(await runner.job())

    async with feed(other) as first:
        last = first.last
    working = asyncio.create_task(work())
    async with asyncio.timeout(30):
        while len(ended) < 24:
            before = len(ended)
            async with feed(both[before // 3 % 2], last) as here:
                while len(ended) < min(before + 3, 24):
                    kind, told = await here.next()
                    assert kind == "prediction"
                    if told["status"] == "succeeded":
                        ended.add(told["id"])
                last = here.last
    await working
    assert ended == made


async def test_others_are_never_told(client: httpx.AsyncClient, runner: Runner, database_url: str):
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
        made = await client.post("/v1/models/acme/echo/predictions", json=body, headers={"authorization": eve})
        assert await theirs.states(1) == [(made.json()["id"], "starting")]
        assert await ours.states(1) == [(mine["id"], "starting")]
    async with feed(client, last, authorization=eve) as theirs:
        assert await theirs.states(1) == [(made.json()["id"], "starting")]


@pytest.mark.parametrize("last", ["x", "9" * 16, "9" * 40, "-1", "0"])
async def test_who_has_missed_too_much_reads_the_list_anew(
    client: httpx.AsyncClient, runner: Runner, database_url: str, last: str
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
        made = await create(client, "echo")
        assert await here.states(1) == [(made["id"], "starting")]


async def test_it_wants_a_token(client: httpx.AsyncClient):
    assert (await client.get(PATH, headers={"Authorization": ""})).status_code == 401


async def test_a_slow_listener_holds_up_nobody(nc: Client):
    feed, slow, quick = Feed(nc), Ear(), Ear()
    async with feed.listen(7, slow) as one, feed.listen(7, quick) as two:
        for number in range(MOST + 1):
            await feed.tell([change(str(number))])
            if number % 100 == 99:
                await nc.flush()
                await two.next()
        assert [each.id for each in await two.next() or ()][-1] == str(MOST)
        assert await one.next() is None
        await feed.tell([change("later")])
        assert [each.id for each in await one.next() or ()] == ["later"]


async def test_a_prediction_never_goes_back(nc: Client):
    feed, ear = Feed(nc), Ear()
    async with feed.listen(7, ear) as hearer:
        await feed.tell([change("a", 2), change("a", 1), change("b", 1), change("a", 2)])
        assert [(each.id, each.at.second) for each in await hearer.next() or ()] == [("a", 2), ("b", 1)]


async def test_much_at_once_is_told_in_pieces(nc: Client):
    feed, ear = Feed(nc), Ear()
    async with feed.listen(7, ear) as hearer:
        await feed.tell([change(str(number), error="x" * 200_000) for number in range(9)])
        heard: list[Change] = []
        while len(heard) < 9:
            heard += await hearer.next() or ()
        assert [each.id for each in heard] == [str(number) for number in range(9)]


async def test_nobody_listens_on_once_all_have_left(nc: Client):
    feed = Feed(nc)
    async with feed.listen(7, Ear()):
        pass
    assert await nc.flush() is None
    async with feed.listen(7, Ear()) as hearer:
        await feed.tell([change("a")])
        assert [each.id for each in await hearer.next() or ()] == ["a"]
    assert subjects.account(7) == "account.7"


def change(id: str, second: int = 0, error: str | None = None) -> Change:
    at = datetime(2026, 1, 5, 9, 0, second, tzinfo=UTC)
    status = Status.FAILED if error else Status.STARTING
    return Change(id=id, account=7, at=at, model="a/b", version="v", status=status, created_at=at, error=error)
