"""Why a prediction has not begun: in its own object, and on its stream as it changes."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from msgspec import json

from tests.contract.conftest import open_client
from tests.gateway.conftest import LINES, TOKEN, FakeRunner, frames
from tests.gateway.test_predictions import create, read, show
from tests.gateway.test_pushes import archive, push_version

Frames = AsyncGenerator[tuple[str, str, str]]


async def wait_for_reason(client: httpx.AsyncClient, id: str, reason: str | None) -> dict[str, Any]:
    async with asyncio.timeout(15):
        while (found := await show(client, id)).get("starting") != reason:
            pass  # each look is a request
    return found


@asynccontextmanager
async def follow_stream(client: httpx.AsyncClient, url: str, last: str | None = None) -> AsyncGenerator[Frames]:
    headers = {"Last-Event-ID": last} if last else {}
    async with client.stream("GET", url, params={"events": "all"}, headers=headers) as response:
        yield frames(response)


async def next_status(frames: Frames) -> dict[str, str]:
    """Of the next event, which is a status."""
    async with asyncio.timeout(15):
        event, _, data = await anext(frames)
    assert event == "status"
    return json.decode(data)


async def test_a_starting_prediction_has_a_reason(client: httpx.AsyncClient, runner: FakeRunner):
    id = (asked := await create(client))["id"]
    assert (asked["status"], asked["starting"]) == ("starting", "queued")
    for phase in ("downloading weights", "building", "loading"):
        await runner.send_heartbeat(starting={LINES.version: phase})
        await wait_for_reason(client, id, phase)
    [listed] = (await client.get("/v1/predictions")).json()["results"]
    assert listed["starting"] == "loading"
    await runner.send_heartbeat(warm=[LINES.version])
    await wait_for_reason(client, id, "queued")


async def test_replicates_client_ignores_the_reason(client: httpx.AsyncClient, runner: FakeRunner, url: str):
    asked = await create(client)
    assert "starting" in asked
    async with open_client(url, TOKEN) as replicate:
        prediction = await replicate.predictions.async_get(asked["id"])
        assert (prediction.id, prediction.status) == (asked["id"], "starting")
        await prediction.async_reload()
        assert [each.status for each in (await replicate.predictions.async_list()).results] == ["starting"]


async def test_a_prediction_that_runs_has_no_reason(client: httpx.AsyncClient, runner: FakeRunner):
    await create(client)
    run = await runner.publish_lines(job := await runner.next_job(), ["a"])
    seen = await wait_for_reason(client, job.id, None)
    assert seen["status"] == "processing"
    await runner.succeed(job, run, 1)
    assert "starting" not in await show(client, job.id)


async def test_a_wait_that_runs_out_has_the_reason(client: httpx.AsyncClient, runner: FakeRunner):
    answer = await client.post(
        "/v1/models/acme/lines/predictions", json={"input": {"text": "hi"}}, headers={"Prefer": "wait=1"}
    )
    assert (answer.status_code, answer.json()["starting"]) == (202, "queued")


async def test_a_version_that_no_runner_has_waits_for_a_runner(client: httpx.AsyncClient, runner: FakeRunner):
    id = (await create(client))["id"]
    await runner.send_heartbeat(versions=[])
    await wait_for_reason(client, id, "waiting for a runner")


async def test_a_pushed_version_waits_for_any_runner_of_its_pool(client: httpx.AsyncClient, runner: FakeRunner):
    version = (await push_version(client, runner, archive()))["version"]
    answer = await client.post("/v1/predictions", json={"version": version, "input": {"text": "hi"}})
    assert answer.json()["starting"] == "queued"
    await runner.send_heartbeat(pool="another")
    await wait_for_reason(client, answer.json()["id"], "waiting for a runner")


async def test_a_stream_sends_the_reason_as_it_changes(client: httpx.AsyncClient, runner: FakeRunner):
    asked = await create(client)
    async with follow_stream(client, asked["urls"]["stream"]) as events:
        assert await next_status(events) == {"status": "starting", "reason": "queued"}
        await runner.send_heartbeat(starting={LINES.version: "building"})
        assert await next_status(events) == {"status": "starting", "reason": "building"}
        await runner.send_heartbeat(starting={LINES.version: "building"}, used=1)
        await runner.send_heartbeat(starting={LINES.version: "loading"})
        assert await next_status(events) == {"status": "starting", "reason": "loading"}
        run = await runner.publish_lines(job := await runner.next_job(), ["a"])
        assert await next_status(events) == {"status": "processing"}
        await runner.send_heartbeat(warm=[LINES.version])
        await runner.succeed(job, run, 1)
        rest = [(event, json.decode(data)) for event, _, data in [each async for each in events] if event != "output"]
    assert rest == [("status", {"status": "succeeded"}), ("done", {})]


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_a_stream_sends_that_the_last_runner_has_gone(client: httpx.AsyncClient, runner: FakeRunner):
    """Nobody says so: it is silent for too long."""
    asked = await create(client)
    async with follow_stream(client, asked["urls"]["stream"]) as events:
        assert (await next_status(events))["reason"] == "queued"
        assert (await next_status(events))["reason"] == "waiting for a runner"


async def test_a_resumed_stream_sends_the_current_reason(client: httpx.AsyncClient, runner: FakeRunner):
    asked = await create(client)
    async with follow_stream(client, asked["urls"]["stream"]) as events:
        assert (await next_status(events))["reason"] == "queued"
        await runner.send_heartbeat(starting={LINES.version: "loading"})
        event, id, _ = await anext(events)
        assert event == "status"
    await runner.send_heartbeat(warm=[LINES.version])
    await wait_for_reason(client, asked["id"], "queued")
    async with follow_stream(client, asked["urls"]["stream"], last=id) as events:
        assert (await next_status(events))["reason"] == "queued"
        run = await runner.publish_lines(job := await runner.next_job(), ["a"])
        assert (await next_status(events))["status"] == "processing"
        assert (await anext(events))[::2] == ("output", "a")
        await runner.succeed(job, run, 1)


async def test_a_gateway_with_another_tag_sends_the_same_reasons(
    client: httpx.AsyncClient, runner: FakeRunner, start: Callable[..., Any]
):
    asked = await create(client)
    other = await start()
    path = asked["urls"]["stream"].partition("/v1/")[2]
    async with follow_stream(client, f"{other}/v1/{path}") as events:
        assert (await next_status(events))["status"] == "starting"
        await runner.send_heartbeat(starting={LINES.version: "loading"})
        async with asyncio.timeout(15):
            while (await next_status(events))["reason"] != "loading":
                pass


async def test_a_plain_stream_does_not_send_the_reason(client: httpx.AsyncClient, runner: FakeRunner):
    asked = await create(client)
    following = asyncio.create_task(read(client, asked["urls"]["stream"]))
    await runner.send_heartbeat(starting={LINES.version: "loading"})
    await wait_for_reason(client, asked["id"], "loading")
    run = await runner.publish_lines(job := await runner.next_job(), ["a"])
    await runner.succeed(job, run, 1)
    assert [event for event, _, _ in await following] == ["output", "done"]
