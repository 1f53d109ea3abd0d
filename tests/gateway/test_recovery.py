"""Losses that the reconciler and the recorder repair."""

import asyncio

import asyncpg
import httpx
import pytest
from msgspec import Raw, json
from nats.aio.client import Client
from nats.js import JetStreamContext

from schemas import events, subjects
from schemas.events import Crashed, Output, Run, Succeeded
from tests.gateway.conftest import FakeRunner, frames, now
from tests.gateway.test_predictions import create, show, until


async def remake(nc: Client, stream: str) -> None:
    """As if the broker had lost its directory."""
    config = subjects.stream_configs(replicas=1, queue_cap=100_000, events_age=900, events_bytes=256_000_000)[stream]
    await nc.request(f"$JS.API.STREAM.DELETE.{stream}")
    await nc.request(f"$JS.API.STREAM.CREATE.{stream}", json.encode(config))


async def row(database_url: str, id: str) -> asyncpg.Record:
    connection = await asyncpg.connect(database_url)
    try:
        record = await connection.fetchrow("SELECT * FROM predictions WHERE id = $1", id)
    finally:
        await connection.close()
    assert record is not None
    return record


@pytest.mark.slow
async def test_a_lost_job_is_published_again(
    client: httpx.AsyncClient, runner: FakeRunner, nc: Client, database_url: str
):
    created = await create(client, "echo")
    await remake(nc, subjects.JOBS)
    job = await asyncio.wait_for(poll_job(runner), 30)
    assert (job.id, json.decode(bytes(job.input))) == (created["id"], {"text": "hi"})
    await runner.publish_echo(job)
    assert (await until(client, created["id"], "succeeded"))["output"] == "echo hi"


async def poll_job(runner: FakeRunner):
    while True:
        try:
            return await runner.next_job()
        except Exception:  # the consumer went with its stream; it is created anew
            await asyncio.sleep(0)


async def test_a_job_whose_sequence_nobody_noted_is_not_published_twice(
    client: httpx.AsyncClient, runner: FakeRunner, js: JetStreamContext, database_url: str
):
    """Its gateway died before it could note it. Within the duplicate window the same attempt is swallowed."""
    created = await create(client, "echo")
    connection = await asyncpg.connect(database_url)
    async with asyncio.timeout(20):
        while await connection.fetchval("SELECT job FROM predictions WHERE id = $1", created["id"]) is None:
            pass
        await connection.execute("UPDATE predictions SET job = NULL, due_at = now() WHERE id = $1", created["id"])
        while await connection.fetchval("SELECT job FROM predictions WHERE id = $1", created["id"]) is None:
            pass
    await connection.close()
    assert (await js.stream_info(subjects.JOBS)).state.messages == 1


async def test_a_final_event_that_no_gateway_received_live_is_recorded(
    client: httpx.AsyncClient, runner: FakeRunner, nc: Client, database_url: str
):
    """It was published while no gateway listened: the durable consumer has it."""
    created = await create(client, "echo")
    job = await runner.next_job()
    final = Succeeded(id=job.id, run=runner.next_run(), at=now(), started_at=now(), values=[Raw(b'"x"')])
    connection = await asyncpg.connect(database_url)
    await nc.publish(subjects.event(job.id, "final"), events.encode(final))
    async with asyncio.timeout(10):
        while await connection.fetchval("SELECT status FROM predictions WHERE id = $1", created["id"]) != "succeeded":
            pass
    await connection.close()
    assert (await row(database_url, created["id"]))["output"] == '"x"'


async def test_a_final_event_of_an_unknown_prediction_waits_for_its_row(
    client: httpx.AsyncClient, runner: FakeRunner, database_url: str
):
    other = Succeeded(id="zzzz" + "0" * 22, run=Run(1, 1, "a"), at=now(), started_at=now(), values=[Raw(b'"x"')])
    await runner.publish(other)
    created = await create(client, "echo")
    await runner.publish_echo(await runner.next_job())
    await until(client, created["id"], "succeeded")
    connection = await asyncpg.connect(database_url)
    await connection.execute("UPDATE predictions SET status = 'starting', output = NULL, completed_at = NULL")
    await connection.execute("UPDATE predictions SET id = $1", other.id)
    async with asyncio.timeout(10):
        while await connection.fetchval("SELECT status FROM predictions WHERE id = $1", other.id) != "succeeded":
            pass
    await connection.close()


@pytest.mark.slow
async def test_a_run_whose_events_were_lost_starts_over(client: httpx.AsyncClient, runner: FakeRunner, nc: Client):
    """The stream was wiped in the middle of a run: its final event counts on chunks that are gone."""
    created = await create(client)
    run = await runner.publish_lines(job := await runner.next_job(), ["a", "b"])
    await remake(nc, subjects.EVENTS)
    await runner.publish(Output(id=job.id, run=run, index=2, values=[Raw(b'"c"')]))
    await runner.succeed(job, run, 3)
    again = await asyncio.wait_for(poll_job(runner), 40)
    assert (again.id, again.attempt) == (created["id"], 2)
    assert (await show(client, created["id"]))["status"] in {"starting", "processing"}
    run = await runner.publish_lines(again, ["a", "b", "c"])
    await runner.succeed(again, run, 3)
    assert (await until(client, created["id"], "succeeded"))["output"] == ["a", "b", "c"]


async def test_a_crashed_run_is_followed_by_the_next(
    client: httpx.AsyncClient, runner: FakeRunner, js: JetStreamContext, database_url: str
):
    created = await create(client)
    run = await runner.publish_lines(job := await runner.next_job(), ["a", "b"])
    second = await js.publish(
        subjects.job("default", job.model, job.version),
        json.encode({"id": job.id, "model": job.model, "version": job.version, "created_at": now(), "attempt": 2}),
    )
    await runner.publish(Crashed(id=job.id, run=run, at=now(), reason="killed", attempt=2, job=second.seq))
    async with asyncio.timeout(10):
        while (await row(database_url, created["id"]))["attempt"] != 2:
            pass
    assert (await row(database_url, created["id"]))["job"] == second.seq
    async with client.stream("GET", created["urls"]["stream"]) as response:
        stream = frames(response)
        had = [(await anext(stream))[2], (await anext(stream))[2]]
        again = await runner.next_job()
        run = await runner.publish_lines(again, ["a", "b", "c"])
        await runner.succeed(again, run, 3)
        rest = [(event, data) async for event, _, data in stream]
    assert (had, rest) == (["a", "b"], [("output", "c"), ("done", "{}")])


async def test_a_full_queue_answers_429_and_keeps_nothing(
    client: httpx.AsyncClient, runner: FakeRunner, nc: Client, database_url: str
):
    config = subjects.stream_configs(replicas=1, queue_cap=1, events_age=900, events_bytes=256_000_000)[subjects.JOBS]
    answer = json.decode((await nc.request("$JS.API.STREAM.UPDATE.JOBS", json.encode(config))).data)
    assert "error" not in answer
    await create(client, "echo")
    refused = await client.post("/v1/models/acme/echo/predictions", json={"input": {"text": "hi"}})
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
    assert len((await client.get("/v1/predictions")).json()["results"]) == 1


async def test_a_broker_that_is_away_refuses_nobody(
    client: httpx.AsyncClient, runner: FakeRunner, nc: Client, database_url: str
):
    """Accepted means recorded; the job is published once the stream takes it."""
    config = subjects.stream_configs(replicas=1, queue_cap=100_000, events_age=900, events_bytes=256_000_000)[
        subjects.JOBS
    ]
    await nc.request("$JS.API.STREAM.UPDATE.JOBS", json.encode({**config, "subjects": ["elsewhere.>"]}))
    created = await create(client, "echo")
    await nc.request("$JS.API.STREAM.UPDATE.JOBS", json.encode(config))
    job = await asyncio.wait_for(poll_job(runner), 30)
    await runner.publish_echo(job)
    assert (await until(client, created["id"], "succeeded"))["output"] == "echo hi"


@pytest.mark.parametrize("kind", ["started", "final"])
async def test_a_message_that_is_no_event_is_parked(
    client: httpx.AsyncClient, runner: FakeRunner, js: JetStreamContext, database_url: str, kind: str
):
    subject = subjects.event("zzzz" + "1" * 22, kind)
    await js.publish(subject, b"nonsense")
    connection = await asyncpg.connect(database_url)
    async with asyncio.timeout(10):
        while not (rows := await connection.fetch("SELECT * FROM parked_events")):
            pass
    await connection.close()
    assert (rows[0]["subject"], bytes(rows[0]["data"])) == (subject, b"nonsense")


@pytest.mark.parametrize("way", ["wait", "stream", "get", "another gateway"])
async def test_an_outcome_that_was_shown_stays_true_though_the_broker_loses_everything(
    client: httpx.AsyncClient, runner: FakeRunner, nc: Client, database_url: str, start, way: str
):
    headers = {"Prefer": "wait"} if way == "wait" else {}
    creating = asyncio.create_task(
        client.post("/v1/models/acme/lines/predictions", json={"input": {"text": "hi"}}, headers=headers)
    )
    job = await runner.next_job()
    run = await runner.publish_lines(job, ["a", "b"])
    shown = (
        creating if way == "wait" else asyncio.create_task(follow_to_end(client, (await creating).json(), way, start))
    )
    await runner.succeed(job, run, 2)
    await shown
    await remake(nc, subjects.EVENTS)
    assert (await show(client, job.id))["output"] == ["a", "b"]
    async with asyncio.timeout(5):
        while (await row(database_url, job.id))["status"] != "succeeded":
            pass


async def follow_to_end(client: httpx.AsyncClient, created: dict, way: str, start) -> None:
    """See the outcome in one of the ways there are."""
    if way == "get":
        await until(client, created["id"], "succeeded")
        return
    url = created["urls"]["stream"]
    if way == "another gateway":
        url = url.replace(str(client.base_url).rstrip("/"), await start())
    async with client.stream("GET", url) as response:
        assert [event async for event, _, _ in frames(response)] == ["output", "output", "done"]
