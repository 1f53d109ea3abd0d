"""Requests that are sent again, with a key or by a client that retries by itself."""

import asyncio
from datetime import timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from msgspec import json
from nats.aio.client import Client

from gateway.store.connection import open_pool
from gateway.store.idempotency import IdempotencyStore
from schemas import subjects
from tests.gateway.conftest import TOKEN, FakeRunner

pytestmark = pytest.mark.slow


PATH = "/v1/models/acme/echo/predictions"


async def send(client: httpx.AsyncClient, text: str = "hi", path: str = PATH, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.post(path, json={"input": {"text": text}}, headers=named)


async def count(client: httpx.AsyncClient) -> int:
    seen, next_page = 0, "/v1/predictions"
    while next_page:
        page = (await client.get(next_page)).json()
        seen, next_page = seen + len(page["results"]), page["next"]
    return seen


async def test_the_same_key_gives_the_first_prediction_again(client: httpx.AsyncClient, runner: FakeRunner):
    first = await send(client, idempotency_key="one")
    again = await send(client, idempotency_key="one")
    other = await send(client, idempotency_key="two")
    assert {each.status_code for each in (first, again, other)} == {201}
    assert again.json()["id"] == first.json()["id"] != other.json()["id"]
    assert again.headers["location"] == first.headers["location"]
    assert await count(client) == 2
    jobs = {(await runner.next_job()).id, (await runner.next_job()).id}
    assert jobs == {first.json()["id"], other.json()["id"]}


async def test_a_repeated_wait_waits_for_the_end_of_the_first(client: httpx.AsyncClient, runner: FakeRunner):
    first = await send(client, idempotency_key="k")
    late = await send(client, idempotency_key="k", prefer="wait=1")
    assert (late.status_code, late.json()["status"]) == (202, "starting")
    waiting = asyncio.create_task(send(client, idempotency_key="k", prefer="wait=5"))
    await runner.publish_echo(await runner.next_job())
    ended = await waiting
    assert (ended.status_code, ended.json()["id"]) == (201, first.json()["id"])
    assert (ended.json()["output"], ended.headers["preference-applied"]) == ("echo hi", "wait=5")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        pytest.param("other", PATH, id="body"),
        pytest.param("hi", PATH.replace("echo", "lines"), id="path"),
    ],
)
async def test_a_key_is_for_one_request(client: httpx.AsyncClient, runner: FakeRunner, text: str, path: str):
    await send(client, idempotency_key="k")
    refused = await send(client, text, path, idempotency_key="k")
    assert refused.status_code == 422
    assert "Idempotency-Key" in refused.json()["detail"]
    assert await count(client) == 1


@pytest.mark.parametrize("key", ["", "a b", "é", "k" * 256])
async def test_a_bad_key_is_refused(client: httpx.AsyncClient, runner: FakeRunner, key: str):
    body = json.encode({"input": {"text": "hi"}})
    headers: Any = [(b"idempotency-key", key.encode("latin-1")), (b"content-type", b"application/json")]
    refused = await client.post(PATH, content=body, headers=headers)
    assert refused.status_code == 422
    assert "Idempotency-Key" in refused.json()["detail"]


async def test_accounts_do_not_share_keys(client: httpx.AsyncClient, runner: FakeRunner, database_url: str):
    connection = await asyncpg.connect(database_url)
    await connection.execute("INSERT INTO accounts (username, name) VALUES ('eve', 'eve')")
    await connection.execute(
        "INSERT INTO tokens (hash, account) SELECT sha256('eves'), id FROM accounts WHERE username = 'eve'"
    )
    await connection.close()
    ours = await send(client, idempotency_key="k")
    theirs = await send(client, "else", idempotency_key="k", authorization="Bearer eves")
    assert theirs.status_code == 201
    assert theirs.json()["id"] != ours.json()["id"]


async def test_concurrent_requests_at_two_gateways_create_one_prediction(
    client: httpx.AsyncClient, runner: FakeRunner, start
):
    other = httpx.AsyncClient(base_url=await start(), headers={"Authorization": f"Bearer {TOKEN}"}, trust_env=False)
    async with other:
        for number in range(10):
            answers = await asyncio.gather(*(send(each, idempotency_key=f"k{number}") for each in [client, other] * 4))
            assert {answer.status_code for answer in answers} == {201}
            assert len({answer.json()["id"] for answer in answers}) == 1
        assert await count(client) == 10


async def test_a_full_queue_frees_the_key(client: httpx.AsyncClient, runner: FakeRunner, nc: Client):
    small = subjects.stream_configs(replicas=1, queue_cap=1, events_age=900, events_bytes=256_000_000)
    await nc.request("$JS.API.STREAM.UPDATE.JOBS", json.encode(small["JOBS"]))
    await send(client)
    assert (await send(client, idempotency_key="k")).status_code == 429
    assert await count(client) == 1
    await runner.next_job()
    taken = await send(client, idempotency_key="k")
    assert taken.status_code == 201
    assert (await runner.next_job()).id == taken.json()["id"]


async def test_a_client_that_retries_by_itself_creates_one_prediction(client: httpx.AsyncClient, runner: FakeRunner):
    first = await send(client, x_stainless_retry_count="0")
    again = await send(client, x_stainless_retry_count="1")
    assert again.json()["id"] == first.json()["id"]
    assert (await send(client, "other", x_stainless_retry_count="1")).json()["id"] != first.json()["id"]
    assert await count(client) == 2


async def test_a_first_request_always_creates_a_prediction(client: httpx.AsyncClient, runner: FakeRunner):
    plain, none = await send(client), await send(client, x_stainless_retry_count="0")
    newer = await send(client, x_stainless_retry_count="0")
    assert len({each.json()["id"] for each in (plain, none, newer)}) == 3
    again = await send(client, x_stainless_retry_count="2")
    assert again.json()["id"] == newer.json()["id"]


async def test_after_a_while_a_retry_is_a_request_of_its_own(
    client: httpx.AsyncClient, runner: FakeRunner, database_url: str
):
    first = await send(client, x_stainless_retry_count="0")
    connection = await asyncpg.connect(database_url)
    await connection.execute("UPDATE predictions SET created_at = created_at - interval '121 seconds'")
    await connection.close()
    assert (await send(client, x_stainless_retry_count="1")).json()["id"] != first.json()["id"]


@pytest.mark.parametrize("count", ["", "-1", "one", "9" * 5000])
async def test_an_invalid_retry_count_is_ignored(client: httpx.AsyncClient, runner: FakeRunner, count: str):
    assert (await send(client, x_stainless_retry_count=count)).status_code == 201


async def test_a_key_is_valid_for_a_day(client: httpx.AsyncClient, runner: FakeRunner, database_url: str):
    first = await send(client, idempotency_key="k")
    async with open_pool(database_url, 2) as pool:
        await pool.execute("UPDATE idempotency SET created_at = now() - $1::interval", timedelta(hours=23, minutes=59))
        assert await IdempotencyStore(pool).delete_expired(10) == 0
        assert (await send(client, idempotency_key="k")).json()["id"] == first.json()["id"]
        await pool.execute("UPDATE idempotency SET created_at = now() - $1::interval", timedelta(hours=24, minutes=1))
        assert (await send(client, "other", idempotency_key="k")).status_code == 201
        await pool.execute("UPDATE idempotency SET created_at = now() - $1::interval", timedelta(hours=24, minutes=1))
        assert await IdempotencyStore(pool).delete_expired(10) == 1
