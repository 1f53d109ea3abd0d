"""Why a prediction has not begun: in its own object, and on its stream as it changes."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from msgspec import json

from tests.contract.conftest import connected
from tests.gateway.conftest import LINES, TOKEN, Runner, frames
from tests.gateway.test_predictions import create, read, show
from tests.gateway.test_pushes import archive, made

Frames = AsyncGenerator[tuple[str, str, str]]


async def until(client: httpx.AsyncClient, id: str, reason: str | None) -> dict[str, Any]:
    async with asyncio.timeout(15):
        while (found := await show(client, id)).get("starting") != reason:
            pass  # each look is a request
    return found


@asynccontextmanager
async def following(client: httpx.AsyncClient, url: str, last: str | None = None) -> AsyncGenerator[Frames]:
    headers = {"Last-Event-ID": last} if last else {}
    async with client.stream("GET", url, params={"events": "all"}, headers=headers) as response:
        yield frames(response)


async def status(frames: Frames) -> dict[str, str]:
    """Of the next event, which is a status."""
    async with asyncio.timeout(15):
        event, _, data = await anext(frames)
    assert event == "status"
    return json.decode(data)


async def test_a_prediction_that_has_not_begun_says_why(client: httpx.AsyncClient, runner: Runner):
    id = (asked := await create(client))["id"]
    assert (asked["status"], asked["starting"]) == ("starting", "queued")
    for phase in ("downloading weights", "building", "loading"):
        await runner.present(starting={LINES.version: phase})
        await until(client, id, phase)
    [listed] = (await client.get("/v1/predictions")).json()["results"]
    assert listed["starting"] == "loading"
    await runner.present(warm=[LINES.version])
    await until(client, id, "queued")


async def test_replicates_client_passes_over_it(client: httpx.AsyncClient, runner: Runner, url: str):
    asked = await create(client)
    assert "starting" in asked
    async with connected(url, TOKEN) as replicate:
        prediction = await replicate.predictions.async_get(asked["id"])
        assert (prediction.id, prediction.status) == (asked["id"], "starting")
        await prediction.async_reload()
        assert [each.status for each in (await replicate.predictions.async_list()).results] == ["starting"]


async def test_one_that_has_begun_says_nothing_of_it(client: httpx.AsyncClient, runner: Runner):
    await create(client)
    run = await runner.lines(job := await runner.job(), ["a"])
    seen = await until(client, job.id, None)
    assert seen["status"] == "processing"
    await runner.end(job, run, 1)
    assert "starting" not in await show(client, job.id)


async def test_a_wait_that_runs_out_says_why(client: httpx.AsyncClient, runner: Runner):
    answer = await client.post(
        "/v1/models/acme/lines/predictions", json={"input": {"text": "hi"}}, headers={"Prefer": "wait=1"}
    )
    assert (answer.status_code, answer.json()["starting"]) == (202, "queued")


async def test_a_model_that_no_runner_has_waits_for_one(client: httpx.AsyncClient, runner: Runner):
    id = (await create(client))["id"]
    await runner.present(versions=[])
    await until(client, id, "waiting for a runner")


async def test_what_was_pushed_waits_for_any_runner_of_its_pool(client: httpx.AsyncClient, runner: Runner):
    version = (await made(client, runner, archive()))["version"]
    answer = await client.post("/v1/predictions", json={"version": version, "input": {"text": "hi"}})
    assert answer.json()["starting"] == "queued"
    await runner.present(pool="another")
    await until(client, answer.json()["id"], "waiting for a runner")


async def test_a_stream_says_the_reason_as_it_changes(client: httpx.AsyncClient, runner: Runner):
    asked = await create(client)
    async with following(client, asked["urls"]["stream"]) as events:
        assert await status(events) == {"status": "starting", "reason": "queued"}
        await runner.present(starting={LINES.version: "building"})
        assert await status(events) == {"status": "starting", "reason": "building"}
        await runner.present(starting={LINES.version: "building"}, used=1)
        await runner.present(starting={LINES.version: "loading"})
        assert await status(events) == {"status": "starting", "reason": "loading"}
        run = await runner.lines(job := await runner.job(), ["a"])
        assert await status(events) == {"status": "processing"}
        await runner.present(warm=[LINES.version])
        await runner.end(job, run, 1)
        rest = [(event, json.decode(data)) for event, _, data in [each async for each in events] if event != "output"]
    assert rest == [("status", {"status": "succeeded"}), ("done", {})]


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_a_stream_hears_that_the_last_runner_has_gone(client: httpx.AsyncClient, runner: Runner):
    """Nobody says so: it is silent for too long."""
    asked = await create(client)
    async with following(client, asked["urls"]["stream"]) as events:
        assert (await status(events))["reason"] == "queued"
        assert (await status(events))["reason"] == "waiting for a runner"


async def test_one_who_comes_back_is_told_the_reason_that_holds(client: httpx.AsyncClient, runner: Runner):
    asked = await create(client)
    async with following(client, asked["urls"]["stream"]) as events:
        assert (await status(events))["reason"] == "queued"
        await runner.present(starting={LINES.version: "loading"})
        event, id, _ = await anext(events)
        assert event == "status"
    await runner.present(warm=[LINES.version])
    await until(client, asked["id"], "queued")
    async with following(client, asked["urls"]["stream"], last=id) as events:
        assert (await status(events))["reason"] == "queued"
        run = await runner.lines(job := await runner.job(), ["a"])
        assert (await status(events))["status"] == "processing"
        assert (await anext(events))[::2] == ("output", "a")
        await runner.end(job, run, 1)


async def test_a_gateway_that_serves_another_tag_says_the_same(
    client: httpx.AsyncClient, runner: Runner, start: Callable[..., Any]
):
    asked = await create(client)
    other = await start()
    path = asked["urls"]["stream"].partition("/v1/")[2]
    async with following(client, f"{other}/v1/{path}") as events:
        assert (await status(events))["status"] == "starting"
        await runner.present(starting={LINES.version: "loading"})
        async with asyncio.timeout(15):
            while (await status(events))["reason"] != "loading":
                pass


async def test_a_plain_stream_hears_nothing_of_it(client: httpx.AsyncClient, runner: Runner):
    asked = await create(client)
    following = asyncio.create_task(read(client, asked["urls"]["stream"]))
    await runner.present(starting={LINES.version: "loading"})
    await until(client, asked["id"], "loading")
    run = await runner.lines(job := await runner.job(), ["a"])
    await runner.end(job, run, 1)
    assert [event for event, _, _ in await following] == ["output", "done"]
