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
from tests.gateway.test_pushes import archive, ended, made, pushed, stored
from tests.gateway.test_uploads import upload


def age(tmp_path: Path, hours: float = 2) -> None:
    """All that is stored now was stored hours ago."""
    then = time.time() - hours * 3600
    for key in stored(tmp_path):
        os.utime(tmp_path / "files" / key, (then, then))


def keep(tmp_path: Path, key: str, content: bytes = b"x") -> None:
    path = tmp_path / "files" / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


async def wasted(client: httpx.AsyncClient) -> dict[str, str]:
    found = (await client.get("/v1/gc")).json()
    assert found["count"] == len(found["items"])
    assert found["bytes"] == sum(item["bytes"] for item in found["items"])
    assert found["freed"] is False
    return {item["key"]: item["reason"] for item in found["items"]}


async def test_what_is_in_use_is_no_waste(client: httpx.AsyncClient, runner: FakeRunner, tmp_path: Path):
    await made(client, runner, archive("one"))
    await pushed(client, archive("two"))
    await upload(client)
    age(tmp_path)
    assert await wasted(client) == {}
    assert len(stored(tmp_path)) == 5


async def test_a_failed_push_leaves_waste(client: httpx.AsyncClient, runner: FakeRunner, tmp_path: Path):
    begun = await pushed(client, archive())
    await client.post(begun["urls"]["cancel"])
    await ended(client, begun)
    assert await wasted(client) == {}, "younger than an hour"
    age(tmp_path)
    assert sorted((await wasted(client)).values()) == ["a manifest without a version", "an archive without a version"]
    freed = (await client.post("/v1/gc")).json()
    assert (freed["count"], freed["freed"]) == (2, True)
    assert stored(tmp_path) == []
    assert await wasted(client) == {}


async def test_an_archive_that_something_else_uses_stays(client: httpx.AsyncClient, runner: FakeRunner, tmp_path: Path):
    await made(client, runner, archive())
    keep(tmp_path, f"packs/{'0' * 64}.tar")
    keep(tmp_path, f"versions/{'0' * 64}.json", b"nonsense")
    age(tmp_path)
    before = set(stored(tmp_path))
    await client.post("/v1/gc")
    assert before - set(stored(tmp_path)) == {f"packs/{'0' * 64}.tar", f"versions/{'0' * 64}.json"}


async def test_expired_uploads_are_waste_unless_somebody_waits_for_them(
    client: httpx.AsyncClient, runner: FakeRunner, tmp_path: Path, database_url: str
):
    wanted, other = await upload(client), await upload(client)
    input = {"images": [wanted["urls"]["get"]]}
    assert (await client.post("/v1/models/acme/keeper/predictions", json={"input": input})).status_code == 201
    connection = await asyncpg.connect(database_url)
    await connection.execute("UPDATE files SET expires_at = now()")
    age(tmp_path)
    assert await wasted(client) == {keys.upload(other["id"], other["name"]): "an upload that has expired"}
    await client.post("/v1/gc")
    assert stored(tmp_path) == [keys.upload(wanted["id"], wanted["name"])]
    assert await connection.fetchval("SELECT count(*) FROM files") == 0
    await connection.close()


async def test_outputs_that_no_result_names_are_waste(client: httpx.AsyncClient, runner: FakeRunner, tmp_path: Path):
    begun = (await client.post("/v1/models/acme/echo/predictions", json={"input": {"text": "hi"}})).json()
    job = await runner.next_job()
    named, crashed, gone = (f"out/{id}/x/f.png" for id in (job.id, job.id + "/again", "zzzz" + "0" * 22))
    for key in (named, crashed, gone):
        keep(tmp_path, key)
    age(tmp_path)
    assert await wasted(client) == {gone: "an output of a prediction that is gone"}, "while it runs, nothing of it is"
    value = Raw(json.encode(f"file:{named}"))
    await runner.publish(Succeeded(id=job.id, run=runner.next_run(), at=now(), values=[value], files=[named]))
    await until(client, begun["id"], "succeeded")
    while len(await wasted(client)) != 2:
        pass  # it is told before it is recorded
    assert await wasted(client) == {
        gone: "an output of a prediction that is gone",
        crashed: "an output that no result names",
    }


async def test_large_inputs_are_waste_a_day_after_their_end(
    client: httpx.AsyncClient, runner: FakeRunner, tmp_path: Path
):
    text = "x" * 190_000
    input = {"text": text, "image": "data:;base64," + "A" * 4}
    begun = (await client.post("/v1/models/acme/echo/predictions", json={"input": input})).json()
    assert stored(tmp_path) == [], "small enough for a message"
    keep(tmp_path, keys.input("0" * 64))
    age(tmp_path)
    assert await wasted(client) == {}
    age(tmp_path, 25)
    assert await wasted(client) == {keys.input("0" * 64): "an input of a prediction that has ended"}
    assert begun["status"] == "starting"


async def test_the_input_of_a_prediction_that_waits_stays(
    client: httpx.AsyncClient, runner: FakeRunner, tmp_path: Path, settings, start
):
    other = await start(structs.replace(settings, max_body=1_000_000))
    input = {"text": "ü" * 200_000}
    begun = (await client.post(f"{other}/v1/models/acme/echo/predictions", json={"input": input})).json()
    [key] = stored(tmp_path)
    age(tmp_path, 25)
    assert await wasted(client) == {}
    await client.post(f"/v1/predictions/{begun['id']}/cancel")
    while not (found := await wasted(client)):
        pass
    assert found == {key: "an input of a prediction that has ended"}


async def test_an_archive_that_broke_off_is_waste(client: httpx.AsyncClient, tmp_path: Path):
    keep(tmp_path, "incoming/abc")
    age(tmp_path)
    assert await wasted(client) == {"incoming/abc": "a push that broke off"}


async def test_gc_is_not_for_strangers(url: str):
    async with httpx.AsyncClient(trust_env=False) as stranger:
        assert (await stranger.get(f"{url}/v1/gc")).status_code == 401
        assert (await stranger.post(f"{url}/v1/gc")).status_code == 401
