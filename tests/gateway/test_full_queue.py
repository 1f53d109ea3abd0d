"""A model whose queue is full accepts nothing more, and keeps nothing of what it refused."""

import asyncio
from collections.abc import Callable
from typing import Any

import asyncpg
import httpx
import pytest
from msgspec import structs
from nats.aio.client import Client
from nats.js import JetStreamContext

from gateway.settings import Settings
from schemas import subjects
from tests.gateway.conftest import TOKEN, FakeRunner

PATH = "/v1/models/acme/{}/predictions"
CAP = 2


@pytest.fixture
async def url(start: Callable[..., Any], settings: Settings, nc: Client, js: JetStreamContext) -> str:
    """Of a gateway that made the streams itself, with room for two jobs of each model."""
    await nc.request(f"$JS.API.STREAM.DELETE.{subjects.JOBS}")
    return await start(structs.replace(settings, queue_cap=CAP))


async def create(client: httpx.AsyncClient, model: str = "echo", **headers: str) -> httpx.Response:
    return await client.post(PATH.format(model), json={"input": {"text": "hi"}}, headers=headers)


@pytest.mark.parametrize("headers", [{}, {"Prefer": "wait=1"}])
async def test_a_prediction_that_a_full_queue_refuses_never_existed(
    client: httpx.AsyncClient, runner: FakeRunner, js: JetStreamContext, database_url: str, headers: dict[str, str]
) -> None:
    answers = await asyncio.gather(*(create(client, **headers) for _ in range(10)))
    accepted = {answer.json()["id"] for answer in answers if answer.is_success}
    refused = [answer for answer in answers if answer.status_code == 429]
    assert (len(accepted), len(refused)) == (CAP, 10 - CAP)
    assert {answer.headers["retry-after"] for answer in refused} == {"5"}
    assert refused[0].json() == {
        "title": "Too many requests",
        "detail": "Too many predictions wait for acme/echo.",
        "status": 429,
        "retry_after": 5,
    }
    connection = await asyncpg.connect(database_url)
    assert {row["id"] for row in await connection.fetch("SELECT id FROM predictions")} == accepted
    await connection.close()
    assert (await js.stream_info(subjects.JOBS)).state.messages == CAP
    assert {(await runner.next_job()).id for _ in accepted} == accepted


async def test_a_full_queue_belongs_to_one_model_and_takes_more_once_a_job_is_done(
    client: httpx.AsyncClient, runner: FakeRunner
) -> None:
    assert [(await create(client)).status_code for _ in range(CAP + 1)] == [201, 201, 429]
    assert (await create(client, "lines")).status_code == 201
    await runner.next_job()
    assert (await create(client)).status_code == 201
    assert (await create(client)).status_code == 429


async def test_a_queue_that_is_full_is_full_at_every_gateway(
    client: httpx.AsyncClient, runner: FakeRunner, start: Callable[..., Any]
) -> None:
    async with httpx.AsyncClient(
        base_url=await start(), headers={"Authorization": f"Bearer {TOKEN}"}, trust_env=False
    ) as other:
        while (await create(other)).status_code == 404:
            await runner.announce()
        assert sorted([(await create(each)).status_code for each in (client, other, other)]) == [201, 429, 429]
