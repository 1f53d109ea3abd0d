"""What the reconciler and the recorder make good."""

import asyncio

import asyncpg
import httpx
import pytest
from msgspec import Raw, json
from nats.aio.client import Client
from nats.js import JetStreamContext

from schemas import events, subjects
from schemas.events import Crashed, Output, Run, Succeeded
from tests.gateway.conftest import Runner, frames, now
from tests.gateway.test_predictions import create, show, until


async def remake(nc: Client, stream: str) -> None:
    """As if the broker had lost its directory."""
    config = subjects.streams(replicas=1, queue_cap=100_000, events_age=900, events_bytes=256_000_000)[stream]
    await nc.request(f"$JS.API.STREAM.DELETE.{stream}")
    await nc.request(f"$JS.API.STREAM.CREATE.{stream}", json.encode(config))


async def row(database_url: str, id: str) -> asyncpg.Record:
    connection = await asyncpg.connect(database_url)
    try:
        found = await connection.fetchrow("SELECT * FROM predictions WHERE id = $1", id)
    finally:
        await connection.close()
    assert found is not None
    return found


@pytest.mark.slow
async def test_a_lost_job_is_published_again(client: httpx.AsyncClient, runner: Runner, nc: Client, database_url: str):
    made = await create(client, "echo")
    await remake(nc, subjects.JOBS)
    job = await asyncio.wait_for(poll_job(runner), 30)
    assert (job.id, json.decode(bytes(job.input))) == (made["id"], {"text": "hi"})
    await runner.echo(job)
    assert (await until(client, made["id"], "succeeded"))["output"] == "echo hi"


async def poll_job(runner: Runner):
    while True:
        try:
            return await runner.job()
        except Exception:  # the consumer went with its stream; it is made anew
            await asyncio.sleep(0)


async def test_a_job_whose_sequence_nobody_noted_is_not_published_twice(
    client: httpx.AsyncClient, runner: Runner, js: JetStreamContext, database_url: str
):
    """Its gateway died before it could note it. Within the duplicate window the same attempt is swallowed."""
    made = await create(client, "echo")
    connection = await asyncpg.connect(database_url)
    async with asyncio.timeout(20):
        while await connection.fetchval("SELECT job FROM predictions WHERE id = $1", made["id"]) is None:
            pass
        await connection.execute("UPDATE predictions SET job = NULL, due_at = now() WHERE id = $1", made["id"])
        while await connection.fetchval("SELECT job FROM predictions WHERE id = $1", made["id"]) is None:
            pass
    await connection.close()
    assert (await js.stream_info(subjects.JOBS)).state.messages == 1


async def test_a_final_that_nobody_heard_is_recorded(
    client: httpx.AsyncClient, runner: Runner, nc: Client, database_url: str
):
    """Said while no gateway listened: the durable consumer has it."""
    made = await create(client, "echo")
    job = await runner.job()
    final = Succeeded(id=job.id, run=runner.run(), at=now(), started_at=now(), values=[Raw(b'"x"')])
    connection = await asyncpg.connect(database_url)
    await nc.publish(subjects.event(job.id, "final"), events.encode(final))
    async with asyncio.timeout(10):
        while await connection.fetchval("SELECT status FROM predictions WHERE id = $1", made["id"]) != "succeeded":
            pass
    await connection.close()
    assert (await row(database_url, made["id"]))["output"] == '"x"'


async def test_a_final_of_an_unknown_prediction_waits_for_its_row(
    client: httpx.AsyncClient, runner: Runner, database_url: str
):
    other = Succeeded(id="zzzz" + "0" * 22, run=Run(1, 1, "a"), at=now(), started_at=now(), values=[Raw(b'"x"')])
    await runner.say(other)
    made = await create(client, "echo")
    await runner.echo(await runner.job())
    await until(client, made["id"], "succeeded")
    connection = await asyncpg.connect(database_url)
    await connection.execute("UPDATE predictions SET status = 'starting', output = NULL, completed_at = NULL")
    await connection.execute("UPDATE predictions SET id = $1", other.id)
    async with asyncio.timeout(10):
        while await connection.fetchval("SELECT status FROM predictions WHERE id = $1", other.id) != "succeeded":
            pass
    await connection.close()


@pytest.mark.slow
async def test_a_run_whose_events_were_lost_starts_over(client: httpx.AsyncClient, runner: Runner, nc: Client):
    """The stream was wiped in the middle of a run: its final event counts on chunks that are gone."""
    made = await create(client)
    run = await runner.lines(job := await runner.job(), ["a", "b"])
    await remake(nc, subjects.EVENTS)
    await runner.say(Output(id=job.id, run=run, index=2, values=[Raw(b'"c"')]))
    await runner.end(job, run, 3)
    again = await asyncio.wait_for(poll_job(runner), 40)
    assert (again.id, again.attempt) == (made["id"], 2)
    assert (await show(client, made["id"]))["status"] in {"starting", "processing"}
    run = await runner.lines(again, ["a", "b", "c"])
    await runner.end(again, run, 3)
    assert (await until(client, made["id"], "succeeded"))["output"] == ["a", "b", "c"]


async def test_a_crashed_run_is_followed_by_the_next(
    client: httpx.AsyncClient, runner: Runner, js: JetStreamContext, database_url: str
):
    made = await create(client)
    run = await runner.lines(job := await runner.job(), ["a", "b"])
    second = await js.publish(
        subjects.job("default", job.model, job.version),
        json.encode({"id": job.id, "model": job.model, "version": job.version, "created_at": now(), "attempt": 2}),
    )
    await runner.say(Crashed(id=job.id, run=run, at=now(), reason="killed", attempt=2, job=second.seq))
    async with asyncio.timeout(10):
        while (await row(database_url, made["id"]))["attempt"] != 2:
            pass
    assert (await row(database_url, made["id"]))["job"] == second.seq
    async with client.stream("GET", made["urls"]["stream"]) as response:
        following = frames(response)
        had = [(await anext(following))[2], (await anext(following))[2]]
        again = await runner.job()
        run = await runner.lines(again, ["a", "b", "c"])
        await runner.end(again, run, 3)
        rest = [(event, data) async for event, _, data in following]
    assert (had, rest) == (["a", "b"], [("output", "c"), ("done", "{}")])


async def test_a_queue_that_is_full_answers_429_and_keeps_nothing(
    client: httpx.AsyncClient, runner: Runner, nc: Client, database_url: str
):
    config = subjects.streams(replicas=1, queue_cap=1, events_age=900, events_bytes=256_000_000)[subjects.JOBS]
    answer = json.decode((await nc.request("$JS.API.STREAM.UPDATE.JOBS", json.encode(config))).data)
    assert "error" not in answer
    await create(client, "echo")
    refused = await client.post("/v1/models/acme/echo/predictions", json={"input": {"text": "hi"}})
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
    assert len((await client.get("/v1/predictions")).json()["results"]) == 1


async def test_a_broker_that_is_away_refuses_nobody(
    client: httpx.AsyncClient, runner: Runner, nc: Client, database_url: str
):
    """Accepted means recorded; the job is published once the stream takes it."""
    config = subjects.streams(replicas=1, queue_cap=100_000, events_age=900, events_bytes=256_000_000)[subjects.JOBS]
    await nc.request("$JS.API.STREAM.UPDATE.JOBS", json.encode({**config, "subjects": ["elsewhere.>"]}))
    made = await create(client, "echo")
    await nc.request("$JS.API.STREAM.UPDATE.JOBS", json.encode(config))
    job = await asyncio.wait_for(poll_job(runner), 30)
    await runner.echo(job)
    assert (await until(client, made["id"], "succeeded"))["output"] == "echo hi"


@pytest.mark.parametrize("kind", ["started", "final"])
async def test_what_is_no_event_is_parked(
    client: httpx.AsyncClient, runner: Runner, js: JetStreamContext, database_url: str, kind: str
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
async def test_an_end_that_was_told_stays_true_though_the_broker_loses_everything(
    client: httpx.AsyncClient, runner: Runner, nc: Client, database_url: str, start, way: str
):
    headers = {"Prefer": "wait"} if way == "wait" else {}
    asked = asyncio.create_task(
        client.post("/v1/models/acme/lines/predictions", json={"input": {"text": "hi"}}, headers=headers)
    )
    job = await runner.job()
    run = await runner.lines(job, ["a", "b"])
    told = asked if way == "wait" else asyncio.create_task(ending(client, (await asked).json(), way, start))
    await runner.end(job, run, 2)
    await told
    await remake(nc, subjects.EVENTS)
    assert (await show(client, job.id))["output"] == ["a", "b"]
    async with asyncio.timeout(5):
        while (await row(database_url, job.id))["status"] != "succeeded":
            pass


async def ending(client: httpx.AsyncClient, made: dict, way: str, start) -> None:
    """Be told of it in one of the ways there are."""
    if way == "get":
        await until(client, made["id"], "succeeded")
        return
    url = made["urls"]["stream"]
    if way == "another gateway":
        url = url.replace(str(client.base_url).rstrip("/"), await start())
    async with client.stream("GET", url) as response:
        assert [event async for event, _, _ in frames(response)] == ["output", "output", "done"]
