"""Output values that no message can carry: events name them, the file store has them, clients get them whole."""

import asyncio
import hashlib
from pathlib import Path

import httpx
import pytest
from msgspec import Raw, json, structs

from gateway.events.large_values import Values, lacking
from gateway.files.store import Files
from schemas import keys
from schemas.events import Log, Output, Run, Succeeded
from schemas.jobs import Job
from schemas.prediction import Gap
from tests.gateway.conftest import Runner, now
from tests.gateway.test_gc import age, keep, wasted
from tests.gateway.test_predictions import create, read, show, until
from tests.gateway.test_recovery import poll_job, row
from tests.gateway.test_retention import removed

TEXT = "x" * 1_000_000
NULL = Raw(b"null")
RUN = Run(1, 1, "fake")


def stored(tmp_path: Path, id: str, text: str = TEXT) -> str:
    """The key of a value that a runner has put into the store."""
    content = json.encode(text)
    key = keys.value(id, "drawn", hashlib.sha256(content).hexdigest())
    keep(tmp_path, key, content)
    return key


def large(job: Job, run: Run, *texts: str) -> Succeeded:
    return Succeeded(id=job.id, run=run, at=now(), started_at=now(), values=[NULL], stored=dict(enumerate(texts)))


async def test_a_wait_the_prediction_and_its_row_have_it_whole(
    client: httpx.AsyncClient, runner: Runner, tmp_path: Path, database_url: str
):
    asked = asyncio.create_task(
        client.post("/v1/models/acme/echo/predictions", json={"input": {"text": "hi"}}, headers={"Prefer": "wait=5"})
    )
    job = await runner.job()
    await runner.say(large(job, runner.run(), stored(tmp_path, job.id)))
    assert (await asked).json()["output"] == TEXT
    assert (await show(client, job.id))["output"] == TEXT
    async with asyncio.timeout(5):
        while (found := await row(database_url, job.id))["status"] != "succeeded":
            pass  # it is told before it is recorded
    assert json.decode(found["output"]) == TEXT


async def test_what_nobody_waited_for_is_recorded_whole(
    client: httpx.AsyncClient, runner: Runner, tmp_path: Path, database_url: str
):
    made = await create(client, "echo")
    job = await runner.job()
    await runner.say(large(job, runner.run(), stored(tmp_path, job.id)))
    async with asyncio.timeout(5):
        while (found := await row(database_url, made["id"]))["status"] != "succeeded":
            pass  # each look is a connection
    assert json.decode(found["output"]) == TEXT


async def test_chunks_are_streamed_whole_and_in_order(client: httpx.AsyncClient, runner: Runner, tmp_path: Path):
    made = await create(client)
    streaming = asyncio.create_task(read(client, made["urls"]["stream"]))
    job, run = await runner.job(), runner.run()
    texts = [letter * 300_000 for letter in "abcdef"]
    for index, text in enumerate(texts):
        key = stored(tmp_path, job.id, text)
        await runner.say(Output(id=job.id, run=run, index=2 * index, values=[Raw(b'"-"'), NULL], stored={1: key}))
    assert (await show(client, made["id"]))["output"] == [part for text in texts for part in ("-", text)]
    await runner.end(job, run, 12)
    events = await streaming
    assert [data for event, _, data in events if event == "output"] == [part for text in texts for part in ("-", text)]
    assert (await until(client, made["id"], "succeeded"))["output"][-1] == texts[-1]


async def test_what_looks_like_a_reference_stays_as_it_is(client: httpx.AsyncClient, runner: Runner, tmp_path: Path):
    made = await create(client, "echo")
    job = await runner.job()
    value = {"stored": {"0": stored(tmp_path, job.id)}, "values": [None]}
    await runner.say(Succeeded(id=job.id, run=runner.run(), at=now(), values=[Raw(json.encode(value))]))
    assert (await until(client, made["id"], "succeeded"))["output"] == value


@pytest.mark.slow
async def test_a_run_whose_large_output_is_gone_starts_over(client: httpx.AsyncClient, runner: Runner, tmp_path: Path):
    made = await create(client, "echo")
    job = await runner.job()
    await runner.say(large(job, runner.run(), keys.value(job.id, "drawn", "0" * 64)))
    again = await asyncio.wait_for(poll_job(runner), 40)
    assert (again.id, again.attempt) == (made["id"], 2)
    assert (await show(client, made["id"]))["status"] in {"starting", "processing"}
    await runner.say(large(again, runner.run(2), stored(tmp_path, job.id)))
    assert (await until(client, made["id"], "succeeded"))["output"] == TEXT


async def test_it_is_waste_once_the_row_has_it(client: httpx.AsyncClient, runner: Runner, tmp_path: Path):
    made = await create(client)
    job, run = await runner.job(), runner.run()
    key = stored(tmp_path, job.id)
    await runner.say(Output(id=job.id, run=run, index=0, values=[NULL], stored={0: key}))
    age(tmp_path)
    assert (await show(client, made["id"]))["output"] == [TEXT]
    assert await wasted(client) == {}
    await runner.end(job, run, 1)
    async with asyncio.timeout(5):
        while await wasted(client) != {key: "an output that no result names"}:
            pass  # it is told before it is recorded
    await client.post("/v1/gc")
    assert (await show(client, made["id"]))["output"] == [TEXT]


@pytest.mark.slow
async def test_nothing_of_it_is_left_when_what_a_prediction_said_is_removed(
    client: httpx.AsyncClient, runner: Runner, tmp_path: Path, database_url: str, settings, start
):
    await start(structs.replace(settings, retention_api=1.0))
    made = await create(client, "echo")
    job = await runner.job()
    await runner.say(large(job, runner.run(), stored(tmp_path, job.id)))
    await until(client, made["id"], "succeeded")
    await removed(client, made["id"])
    assert [path for path in (tmp_path / "files").rglob("*") if path.is_file()] == []


async def test_values_are_put_where_they_belong(tmp_path: Path):
    first, last = (stored(tmp_path, "id", text) for text in ("first", "last"))
    event = Output(id="id", run=RUN, index=4, values=[NULL, Raw(b"1"), NULL, NULL], stored={0: first, 3: last})
    log = Log(id="id", run=RUN, offset=0, text="x")
    assert (lacking(event), lacking(log)) == (True, False)
    assert await Values(Files(f"file://{tmp_path}/files")).placed([log, event]) == [
        log,
        Output(id="id", run=RUN, index=4, values=[Raw(b'"first"'), Raw(b"1"), NULL, Raw(b'"last"')]),
    ]


async def test_a_value_that_is_not_what_was_said_is_a_gap(tmp_path: Path):
    key = stored(tmp_path, "id")
    keep(tmp_path, key, b'"something else"')
    event = Output(id="id", run=RUN, index=0, values=[NULL], stored={0: key})
    with pytest.raises(Gap):
        await Values(Files(f"file://{tmp_path}/files")).placed([event])
