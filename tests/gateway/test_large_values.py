"""Output values that no message can carry: events name them, the file store has them, clients get them whole."""

import asyncio
import hashlib
from pathlib import Path

import httpx
import pytest
from msgspec import Raw, json, structs

from gateway.events.large_values import LargeValues, has_stored_values
from gateway.files.store import FileStore
from schemas import keys
from schemas.events import Log, Output, Run, Succeeded
from schemas.jobs import Job
from schemas.prediction import EventGap
from tests.gateway.conftest import FakeRunner, now
from tests.gateway.test_garbage import find_waste, make_older, write_file
from tests.gateway.test_predictions import create, read, show, until
from tests.gateway.test_recovery import poll_job, row
from tests.gateway.test_retention import wait_for_removal

TEXT = "x" * 1_000_000
NULL = Raw(b"null")
RUN = Run(1, 1, "fake")


def stored_key(tmp_path: Path, id: str, text: str = TEXT) -> str:
    """The key of a value that a runner has put into the store."""
    content = json.encode(text)
    key = keys.value(id, "drawn", hashlib.sha256(content).hexdigest())
    write_file(tmp_path, key, content)
    return key


def large_final(job: Job, run: Run, *texts: str) -> Succeeded:
    return Succeeded(id=job.id, run=run, at=now(), started_at=now(), values=[NULL], stored=dict(enumerate(texts)))


async def test_a_large_output_is_complete_in_answers_and_in_its_row(
    client: httpx.AsyncClient, runner: FakeRunner, tmp_path: Path, database_url: str
):
    pending = asyncio.create_task(
        client.post("/v1/models/acme/echo/predictions", json={"input": {"text": "hi"}}, headers={"Prefer": "wait=5"})
    )
    job = await runner.next_job()
    await runner.publish(large_final(job, runner.next_run(), stored_key(tmp_path, job.id)))
    assert (await pending).json()["output"] == TEXT
    assert (await show(client, job.id))["output"] == TEXT
    async with asyncio.timeout(5):
        while (record := await row(database_url, job.id))["status"] != "succeeded":
            pass  # clients see it before it is recorded
    assert json.decode(record["output"]) == TEXT


async def test_an_output_that_nobody_waited_for_is_recorded_whole(
    client: httpx.AsyncClient, runner: FakeRunner, tmp_path: Path, database_url: str
):
    created = await create(client, "echo")
    job = await runner.next_job()
    await runner.publish(large_final(job, runner.next_run(), stored_key(tmp_path, job.id)))
    async with asyncio.timeout(5):
        while (record := await row(database_url, created["id"]))["status"] != "succeeded":
            pass  # each look is a connection
    assert json.decode(record["output"]) == TEXT


async def test_chunks_are_streamed_whole_and_in_order(client: httpx.AsyncClient, runner: FakeRunner, tmp_path: Path):
    created = await create(client)
    streaming = asyncio.create_task(read(client, created["urls"]["stream"]))
    job, run = await runner.next_job(), runner.next_run()
    texts = [letter * 300_000 for letter in "abcdef"]
    for index, text in enumerate(texts):
        key = stored_key(tmp_path, job.id, text)
        await runner.publish(Output(id=job.id, run=run, index=2 * index, values=[Raw(b'"-"'), NULL], stored={1: key}))
    assert (await show(client, created["id"]))["output"] == [part for text in texts for part in ("-", text)]
    await runner.succeed(job, run, 12)
    events = await streaming
    assert [data for event, _, data in events if event == "output"] == [part for text in texts for part in ("-", text)]
    assert (await until(client, created["id"], "succeeded"))["output"][-1] == texts[-1]


async def test_a_value_that_looks_like_a_reference_stays_as_it_is(
    client: httpx.AsyncClient, runner: FakeRunner, tmp_path: Path
):
    created = await create(client, "echo")
    job = await runner.next_job()
    value = {"stored": {"0": stored_key(tmp_path, job.id)}, "values": [None]}
    await runner.publish(Succeeded(id=job.id, run=runner.next_run(), at=now(), values=[Raw(json.encode(value))]))
    assert (await until(client, created["id"], "succeeded"))["output"] == value


@pytest.mark.slow
async def test_a_run_whose_large_output_is_gone_starts_over(
    client: httpx.AsyncClient, runner: FakeRunner, tmp_path: Path
):
    created = await create(client, "echo")
    job = await runner.next_job()
    await runner.publish(large_final(job, runner.next_run(), keys.value(job.id, "drawn", "0" * 64)))
    again = await asyncio.wait_for(poll_job(runner), 40)
    assert (again.id, again.attempt) == (created["id"], 2)
    assert (await show(client, created["id"]))["status"] in {"starting", "processing"}
    await runner.publish(large_final(again, runner.next_run(2), stored_key(tmp_path, job.id)))
    assert (await until(client, created["id"], "succeeded"))["output"] == TEXT


async def test_a_stored_value_is_garbage_once_the_row_has_it(
    client: httpx.AsyncClient, runner: FakeRunner, tmp_path: Path
):
    created = await create(client)
    job, run = await runner.next_job(), runner.next_run()
    key = stored_key(tmp_path, job.id)
    await runner.publish(Output(id=job.id, run=run, index=0, values=[NULL], stored={0: key}))
    make_older(tmp_path)
    assert (await show(client, created["id"]))["output"] == [TEXT]
    assert await find_waste(client) == {}
    await runner.succeed(job, run, 1)
    async with asyncio.timeout(5):
        while await find_waste(client) != {key: "an output that no result names"}:
            pass  # clients see it before it is recorded
    await client.post("/v1/gc")
    assert (await show(client, created["id"]))["output"] == [TEXT]


@pytest.mark.slow
async def test_nothing_of_it_remains_when_the_data_of_a_prediction_is_removed(
    client: httpx.AsyncClient, runner: FakeRunner, tmp_path: Path, database_url: str, settings, start
):
    await start(structs.replace(settings, retention_api=1.0))
    created = await create(client, "echo")
    job = await runner.next_job()
    await runner.publish(large_final(job, runner.next_run(), stored_key(tmp_path, job.id)))
    await until(client, created["id"], "succeeded")
    await wait_for_removal(client, created["id"])
    assert [path for path in (tmp_path / "files").rglob("*") if path.is_file()] == []


async def test_values_are_restored_to_their_places(tmp_path: Path):
    first, last = (stored_key(tmp_path, "id", text) for text in ("first", "last"))
    event = Output(id="id", run=RUN, index=4, values=[NULL, Raw(b"1"), NULL, NULL], stored={0: first, 3: last})
    log = Log(id="id", run=RUN, offset=0, text="x")
    assert (has_stored_values(event), has_stored_values(log)) == (True, False)
    assert await LargeValues(FileStore(f"file://{tmp_path}/files")).restore([log, event]) == [
        log,
        Output(id="id", run=RUN, index=4, values=[Raw(b'"first"'), Raw(b"1"), NULL, Raw(b'"last"')]),
    ]


async def test_a_value_with_another_digest_is_a_gap(tmp_path: Path):
    key = stored_key(tmp_path, "id")
    write_file(tmp_path, key, b'"something else"')
    event = Output(id="id", run=RUN, index=0, values=[NULL], stored={0: key})
    with pytest.raises(EventGap):
        await LargeValues(FileStore(f"file://{tmp_path}/files")).restore([event])
