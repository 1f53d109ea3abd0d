import os
import time
from pathlib import Path

import asyncpg
import httpx
from msgspec import Raw, json, structs

from schemas import keys
from schemas.events import Succeeded
from tests.gateway.conftest import FakeRunner, now
from tests.gateway.test_predictions import until
from tests.gateway.test_pushes import archive, push_version, start_push, stored_files, wait_for_end
from tests.gateway.test_uploads import upload


def make_older(tmp_path: Path, hours: float = 2) -> None:
    """All that is stored now was stored hours ago."""
    then = time.time() - hours * 3600
    for key in stored_files(tmp_path):
        os.utime(tmp_path / "files" / key, (then, then))


def write_file(tmp_path: Path, key: str, content: bytes = b"x") -> None:
    path = tmp_path / "files" / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


async def find_waste(client: httpx.AsyncClient) -> dict[str, str]:
    found = (await client.get("/v1/gc")).json()
    assert found["count"] == len(found["items"])
    assert found["bytes"] == sum(item["bytes"] for item in found["items"])
    assert found["freed"] is False
    return {item["key"]: item["reason"] for item in found["items"]}


async def test_files_in_use_are_no_waste(client: httpx.AsyncClient, runner: FakeRunner, tmp_path: Path):
    await push_version(client, runner, archive("one"))
    await start_push(client, archive("two"))
    await upload(client)
    make_older(tmp_path)
    assert await find_waste(client) == {}
    assert len(stored_files(tmp_path)) == 5


async def test_a_failed_push_leaves_waste(client: httpx.AsyncClient, runner: FakeRunner, tmp_path: Path):
    begun = await start_push(client, archive())
    await client.post(begun["urls"]["cancel"])
    await wait_for_end(client, begun)
    assert await find_waste(client) == {}, "younger than an hour"
    make_older(tmp_path)
    assert sorted((await find_waste(client)).values()) == [
        "a manifest without a version",
        "an archive without a version",
    ]
    freed = (await client.post("/v1/gc")).json()
    assert (freed["count"], freed["freed"]) == (2, True)
    assert stored_files(tmp_path) == []
    assert await find_waste(client) == {}


async def test_an_archive_that_something_else_uses_stays(client: httpx.AsyncClient, runner: FakeRunner, tmp_path: Path):
    await push_version(client, runner, archive())
    write_file(tmp_path, f"packs/{'0' * 64}.tar")
    write_file(tmp_path, f"versions/{'0' * 64}.json", b"nonsense")
    make_older(tmp_path)
    before = set(stored_files(tmp_path))
    await client.post("/v1/gc")
    assert before - set(stored_files(tmp_path)) == {f"packs/{'0' * 64}.tar", f"versions/{'0' * 64}.json"}


async def test_expired_uploads_are_waste_unless_a_prediction_needs_them(
    client: httpx.AsyncClient, runner: FakeRunner, tmp_path: Path, database_url: str
):
    wanted, other = await upload(client), await upload(client)
    input = {"images": [wanted["urls"]["get"]]}
    assert (await client.post("/v1/models/acme/keeper/predictions", json={"input": input})).status_code == 201
    connection = await asyncpg.connect(database_url)
    await connection.execute("UPDATE files SET expires_at = now()")
    make_older(tmp_path)
    assert await find_waste(client) == {keys.upload(other["id"], other["name"]): "an upload that has expired"}
    await client.post("/v1/gc")
    assert stored_files(tmp_path) == [keys.upload(wanted["id"], wanted["name"])]
    assert await connection.fetchval("SELECT count(*) FROM files") == 0
    await connection.close()


async def test_outputs_that_no_result_names_are_waste(client: httpx.AsyncClient, runner: FakeRunner, tmp_path: Path):
    begun = (await client.post("/v1/models/acme/echo/predictions", json={"input": {"text": "hi"}})).json()
    job = await runner.next_job()
    named, crashed, gone = (f"out/{id}/x/f.png" for id in (job.id, job.id + "/again", "zzzz" + "0" * 22))
    for key in (named, crashed, gone):
        write_file(tmp_path, key)
    make_older(tmp_path)
    assert await find_waste(client) == {gone: "an output of a prediction that is gone"}, (
        "while it runs, nothing of it is"
    )
    value = Raw(json.encode(f"file:{named}"))
    await runner.publish(Succeeded(id=job.id, run=runner.next_run(), at=now(), values=[value], files=[named]))
    await until(client, begun["id"], "succeeded")
    while len(await find_waste(client)) != 2:
        pass  # it is told before it is recorded
    assert await find_waste(client) == {
        gone: "an output of a prediction that is gone",
        crashed: "an output that no result names",
    }


async def test_large_inputs_are_waste_a_day_after_their_end(
    client: httpx.AsyncClient, runner: FakeRunner, tmp_path: Path
):
    text = "x" * 190_000
    input = {"text": text, "image": "data:;base64," + "A" * 4}
    begun = (await client.post("/v1/models/acme/echo/predictions", json={"input": input})).json()
    assert stored_files(tmp_path) == [], "small enough for a message"
    write_file(tmp_path, keys.input("0" * 64))
    make_older(tmp_path)
    assert await find_waste(client) == {}
    make_older(tmp_path, 25)
    assert await find_waste(client) == {keys.input("0" * 64): "an input of a prediction that has ended"}
    assert begun["status"] == "starting"


async def test_the_input_of_a_waiting_prediction_stays(
    client: httpx.AsyncClient, runner: FakeRunner, tmp_path: Path, settings, start
):
    other = await start(structs.replace(settings, max_body=1_000_000))
    input = {"text": "ü" * 200_000}
    begun = (await client.post(f"{other}/v1/models/acme/echo/predictions", json={"input": input})).json()
    [key] = stored_files(tmp_path)
    make_older(tmp_path, 25)
    assert await find_waste(client) == {}
    await client.post(f"/v1/predictions/{begun['id']}/cancel")
    while not (found := await find_waste(client)):
        pass
    assert found == {key: "an input of a prediction that has ended"}


async def test_an_interrupted_archive_is_waste(client: httpx.AsyncClient, tmp_path: Path):
    write_file(tmp_path, "incoming/abc")
    make_older(tmp_path)
    assert await find_waste(client) == {"incoming/abc": "a push that broke off"}


async def test_garbage_collection_needs_an_admin(url: str):
    async with httpx.AsyncClient(trust_env=False) as stranger:
        assert (await stranger.get(f"{url}/v1/gc")).status_code == 401
        assert (await stranger.post(f"{url}/v1/gc")).status_code == 401
