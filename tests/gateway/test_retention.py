"""What predictions said is removed a while after their end."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import asyncpg
import httpx
import pytest
from msgspec import Raw, json, structs

from gateway.settings import Settings
from gateway.store.connection import open_pool
from gateway.store.retention import ExpiredContent, RetentionStore
from schemas.events import Started, Succeeded
from schemas.jobs import Job
from tests.gateway.conftest import FakeRunner, now
from tests.gateway.test_predictions import create, show, until


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return structs.replace(settings, retention_api=1.0, retention_web=0.0)


async def succeed_with_file(runner: FakeRunner, job: Job, tmp_path: Path) -> str:
    """Ended with a file; its key."""
    key = f"out/{job.id}/x/picture.png"
    path = tmp_path / "files" / key
    path.parent.mkdir(parents=True)
    path.write_bytes(b"png")
    run = runner.next_run(job.attempt)
    await runner.publish(Started(id=job.id, run=run, at=now()))
    value = Raw(json.encode(f"file:{key}"))
    ended = Succeeded(id=job.id, run=run, at=now(), started_at=now(), values=[value], files=[key], log="painting\n")
    await runner.publish(structs.replace(ended, metrics={"predict_time": 0.5}))
    return key


async def wait_for_removal(client: httpx.AsyncClient, id: str) -> dict:
    async with asyncio.timeout(15):
        while not (found := await show(client, id))["data_removed"]:
            pass  # each look is a request
    return found


async def test_expired_content_is_removed_and_the_rest_of_the_row_stays(
    client: httpx.AsyncClient, runner: FakeRunner, tmp_path: Path
):
    made = await create(client, "echo")
    await succeed_with_file(runner, await runner.next_job(), tmp_path)
    ended = await until(client, made["id"], "succeeded")
    assert (await client.get(ended["output"])).content == b"png"
    assert ended["data_removed"] is False
    left = await wait_for_removal(client, made["id"])
    assert left == ended | {"input": {}, "output": None, "logs": "", "data_removed": True}
    assert (await client.get(ended["output"])).status_code == 404
    assert (await client.get("/v1/predictions")).json()["results"] == [left]
    assert list((tmp_path / "files" / "out").rglob("*.png")) == []


async def test_examples_and_unfinished_predictions_keep_their_content(
    client: httpx.AsyncClient, runner: FakeRunner, tmp_path: Path, database_url: str
):
    example = await create(client, "echo")
    await succeed_with_file(runner, await runner.next_job(), tmp_path)
    connection = await asyncpg.connect(database_url)
    await connection.execute(
        "INSERT INTO examples (owner, name, prediction) VALUES ('acme', 'echo', $1)", example["id"]
    )
    other = await create(client, "echo")
    await runner.publish_echo(await runner.next_job())
    waiting = await create(client, "echo")
    by_hand = await create(client, "echo")
    await connection.execute("UPDATE predictions SET source = 'web' WHERE id = $1", by_hand["id"])
    await runner.next_job()
    await runner.publish_echo(await runner.next_job())
    await connection.close()
    await wait_for_removal(client, other["id"])
    assert (await show(client, waiting["id"]))["input"] == {"text": "hi"}
    assert (await until(client, by_hand["id"], "succeeded"))["output"] == "echo hi"
    kept = await show(client, example["id"])
    assert (kept["data_removed"], (await client.get(kept["output"])).content) == (False, b"png")


async def test_a_file_that_is_an_input_stays_until_that_prediction_has_ended(
    client: httpx.AsyncClient, runner: FakeRunner, tmp_path: Path
):
    first = await create(client, "echo")
    await succeed_with_file(runner, await runner.next_job(), tmp_path)
    picture = (await until(client, first["id"], "succeeded"))["output"]
    body = {"input": {"text": "hi", "image": picture}}
    second = (await client.post("/v1/models/acme/echo/predictions", json=body)).json()
    other = await create(client, "lines")
    jobs = {job.id: job for job in (await runner.next_job(), await runner.next_job())}
    await runner.publish_echo(jobs[other["id"]])
    await wait_for_removal(client, other["id"])
    assert (await client.get(picture)).status_code == 200
    await runner.publish_echo(jobs[second["id"]])
    await wait_for_removal(client, first["id"])
    assert (await client.get(picture)).status_code == 404


async def test_two_gateways_never_take_the_same_predictions(
    client: httpx.AsyncClient, runner: FakeRunner, database_url: str, start
):
    await start.stop()  # type: ignore[attr-defined]
    async with open_pool(database_url, 4) as pool:
        await pool.execute(
            """INSERT INTO predictions (id, account, model, version, pool, input, created_at, due_at, completed_at,
                                        status)
               SELECT 'p' || n, 1, 'a/b', 'v', 'default', '{"a": 1}', now(), now(), now() - interval '1 hour', 'failed'
                 FROM generate_series(1, 6) AS n"""
        )
        seen: list[list[str]] = []
        both = asyncio.Barrier(2)

        async def free(contents: Sequence[ExpiredContent]) -> list[str]:
            ids = [content.id for content in contents]
            seen.append(ids)
            await both.wait()
            return ids[1:]

        store = RetentionStore(pool)
        results = await asyncio.gather(
            *(store.remove_expired("api", timedelta(minutes=1), 3, [], free) for _ in range(2))
        )
        assert sorted(seen[0] + seen[1]) == [f"p{n}" for n in range(1, 7)]
        assert [done for _, done in results] == [2, 2]
        left = await pool.fetch("SELECT input, removed FROM predictions WHERE NOT removed")
        assert [row["input"] for row in left] == ['{"a": 1}'] * 2
