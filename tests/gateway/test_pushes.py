import asyncio
import hashlib
import io
import os
import tarfile
from collections.abc import AsyncGenerator
from pathlib import Path

import asyncpg
import httpx
import pytest
from nats.aio.client import Client
from nats.js import JetStreamContext

from schemas import subjects
from schemas.events import Canceled, Failed, Log, Started, Succeeded
from schemas.models import decode_manifest, version_id
from tests.gateway.conftest import ECHO, FakeRunner, frames, now
from tests.gateway.test_recovery import poll_job, remake

PUSHES = "/v1/models/mine/model/versions"


def archive(text: str = "hello") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo("predict.py")
        info.size = len(text)
        tar.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


async def push(client: httpx.AsyncClient, content: bytes, to: str = PUSHES, **headers: str) -> httpx.Response:
    return await client.post(to, content=content, headers={"Content-Type": "application/x-tar", **headers})


async def start_push(client: httpx.AsyncClient, content: bytes, to: str = PUSHES) -> dict:
    answer = await push(client, content, to)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def push_version(client: httpx.AsyncClient, runner: FakeRunner, content: bytes, to: str = PUSHES) -> dict:
    """A push that has succeeded."""
    begun = await start_push(client, content, to)
    await runner.publish_built(await runner.next_job())
    return await wait_for_end(client, begun)


async def wait_for_end(client: httpx.AsyncClient, begun: dict) -> dict:
    async with asyncio.timeout(10):
        while True:
            found = (await client.get(begun["urls"]["get"])).json()
            if "completed_at" in found:
                return found


def stored_files(tmp_path: Path) -> list[str]:
    root = tmp_path / "files"
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


async def test_a_push_is_a_job_for_whoever_builds(client: httpx.AsyncClient, runner: FakeRunner, tmp_path: Path, js):
    content = archive()
    digest = hashlib.sha256(content).hexdigest()
    begun = await start_push(client, content)
    id = version_id("mine", "model", digest)
    assert (begun["version"], begun["model"], begun["status"]) == (id, "mine/model", "starting")
    assert begun["urls"]["get"].endswith(f"/v1/pushes/{begun['id']}")
    message = await js.get_last_msg(subjects.JOBS, subjects.builds("default"))
    job = await runner.next_job()
    assert message is not None
    assert (job.kind, job.id, job.version, job.model, bytes(job.input)) == (
        "build", begun["id"], id, "mine/model", b"null",
    )  # fmt: skip
    files = tmp_path / "files"
    assert (files / f"packs/{digest}.tar").read_bytes() == content
    manifest = decode_manifest((files / f"versions/{id}.json").read_bytes())
    assert (manifest.version, manifest.pack, manifest.size) == (id, digest, len(content))
    assert stored_files(tmp_path) == [f"packs/{digest}.tar", f"versions/{id}.json"]


async def test_there_is_no_version_before_a_push_has_succeeded(client: httpx.AsyncClient, runner: FakeRunner):
    begun = await start_push(client, archive())
    assert (await client.get("/v1/models/mine/model")).status_code == 404
    assert (await client.get(f"{PUSHES}/{begun['version']}")).status_code == 404
    refused = await client.post("/v1/predictions", json={"version": begun["version"], "input": {"text": "hi"}})
    assert refused.status_code == 422


async def test_a_push_shown_as_succeeded_has_its_version(client: httpx.AsyncClient, runner: FakeRunner):
    done = await push_version(client, runner, archive())
    assert (done["status"], done["error"], done["logs"]) == ("succeeded", None, "== setup\nready\n")
    version = (await client.get(f"{PUSHES}/{done['version']}")).json()
    assert (version["id"], version["cog_version"]) == (done["version"], "0.23.1")
    model = (await client.get("/v1/models/mine/model")).json()
    assert (model["latest_version"]["id"], model["description"]) == (done["version"], "A echo")
    assert (await client.get(f"{PUSHES}/{done['version']}/logs")).text == "== setup\nready\n"
    ran = await client.post("/v1/models/mine/model/predictions", json={"input": {"text": "hi"}})
    assert (ran.status_code, ran.json()["version"]) == (201, done["version"])


async def test_a_version_is_made_though_nobody_follows_the_push(
    client: httpx.AsyncClient, runner: FakeRunner, database_url: str
):
    begun = await start_push(client, archive())
    await runner.publish_built(await runner.next_job())
    connection = await asyncpg.connect(database_url)
    async with asyncio.timeout(10):
        while not (row := await connection.fetchrow("SELECT * FROM versions WHERE id = $1", begun["version"])):
            pass
    await connection.close()
    assert (row["size"], row["setup_seconds"], row["pack"]) == (
        len(archive()), 0.5, hashlib.sha256(archive()).hexdigest(),
    )  # fmt: skip


async def test_the_durable_consumer_makes_the_version_of_a_stopped_gateway(
    client: httpx.AsyncClient, runner: FakeRunner, start, database_url: str
):
    """The gateway that took the push is gone before its end."""
    begun = await start_push(client, archive())
    job = await runner.next_job()
    other = await start()
    connection = await asyncpg.connect(database_url)
    await connection.execute("UPDATE predictions SET id = 'zzzz' || substr(id, 5)")  # of nobody's tag
    await connection.close()
    event = Succeeded(id="zzzz" + job.id[4:], run=runner.next_run(), at=now())
    await runner.publish_built(type(job)(id=event.id, model=job.model, version=job.version, created_at=job.created_at))
    async with (
        httpx.AsyncClient(base_url=other, headers=client.headers, trust_env=False) as elsewhere,
        asyncio.timeout(10),
    ):
        while (await elsewhere.get(f"{PUSHES}/{begun['version']}")).status_code != 200:
            pass


async def test_an_existing_version_is_not_built_again(
    client: httpx.AsyncClient, runner: FakeRunner, js: JetStreamContext
):
    done = await push_version(client, runner, archive())
    again = await push(client, archive())
    assert (again.status_code, again.json()["id"]) == (200, done["version"])
    assert "openapi_schema" in again.json()
    assert (await js.stream_info(subjects.JOBS)).state.messages == 0


async def test_a_second_push_of_an_unfinished_build_returns_the_first(client: httpx.AsyncClient, runner: FakeRunner):
    answers = await asyncio.gather(*(push(client, archive()) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 200, 201]
    assert len({answer.json()["id"] for answer in answers}) == 1


async def test_a_push_that_failed_can_be_pushed_again_and_leaves_the_last_good_version(
    client: httpx.AsyncClient, runner: FakeRunner
):
    good = await push_version(client, runner, archive("good"))
    begun = await start_push(client, archive("bad"))
    job = await runner.next_job()
    error = "import: predict.py:3: No module named 'tea'"
    metrics = {"stage": "import", "file": "predict.py", "line": 3}
    await runner.publish(
        Failed(id=job.id, run=runner.next_run(), at=now(), error=error, log="== import\n", metrics=metrics)
    )
    done = await wait_for_end(client, begun)
    assert (done["status"], done["error"], done["logs"]) == ("failed", error, "== import\n")
    assert done["metrics"].items() >= metrics.items()
    assert (await client.get("/v1/models/mine/model")).json()["latest_version"]["id"] == good["version"]
    again = await start_push(client, archive("bad"))
    assert again["id"] != begun["id"]


async def test_a_push_streams_its_log(client: httpx.AsyncClient, runner: FakeRunner):
    begun = await start_push(client, archive())
    job = await runner.next_job()
    run = runner.next_run()
    seen: list[tuple[str, str]] = []
    async with client.stream("GET", begun["urls"]["stream"]) as response:
        following = frames(response)
        await runner.publish(Started(id=job.id, run=run, at=now()))
        await runner.publish(Log(id=job.id, run=run, offset=0, text="== fetch\n"))
        async for event, _, data in following:
            seen.append((event, data))
            if event == "logs" and data.startswith("== fetch"):
                await runner.publish(Canceled(id=job.id, run=run, at=now(), logs=9))
    assert ("logs", "== fetch\n") in seen
    assert seen[-1] == ("done", '{"reason":"canceled"}')
    assert {event for event, _ in seen} <= {"status", "logs", "metrics", "done"}


async def test_a_stream_ends_with_succeeded_only_once_the_version_exists(client: httpx.AsyncClient, runner: FakeRunner):
    begun = await start_push(client, archive())
    await runner.publish_built(await runner.next_job())
    async with client.stream("GET", begun["urls"]["stream"]) as response:
        async for event, _, data in frames(response):
            if (event, data) == ("status", '{"status":"succeeded"}'):
                assert (await client.get(f"{PUSHES}/{begun['version']}")).status_code == 200
                break
        else:
            pytest.fail("it did not say so")


async def test_a_push_can_be_canceled(client: httpx.AsyncClient, runner: FakeRunner):
    begun = await start_push(client, archive())
    answer = await client.post(begun["urls"]["cancel"])
    assert (answer.status_code, answer.json()["status"]) == (200, "canceled")


@pytest.mark.slow
async def test_a_lost_build_is_published_again(client: httpx.AsyncClient, runner: FakeRunner, nc: Client):
    begun = await start_push(client, archive())
    await remake(nc, subjects.JOBS)
    job = await asyncio.wait_for(poll_job(runner), 30)
    assert (job.id, job.kind, bytes(job.input)) == (begun["id"], "build", b"null")


async def test_an_output_that_describes_another_version_makes_none(client: httpx.AsyncClient, runner: FakeRunner):
    begun = await start_push(client, archive())
    await runner.publish_built(await runner.next_job(), offer=ECHO)
    done = await wait_for_end(client, begun)
    assert (done["status"], done["error"]) == (
        "failed",
        "The runner's output does not describe this version. See its log and the gateway's.",
    )
    assert (await client.get(f"{PUSHES}/{begun['version']}")).status_code == 404


async def test_pushes_and_predictions_are_not_mixed_up(client: httpx.AsyncClient, runner: FakeRunner):
    begun = await start_push(client, archive())
    assert (await client.get(f"/v1/predictions/{begun['id']}")).status_code == 404
    assert (await client.post(f"/v1/predictions/{begun['id']}/cancel")).status_code == 404
    assert (await client.get("/v1/predictions")).json()["results"] == []
    ran = await client.post("/v1/models/acme/echo/predictions", json={"input": {"text": "hi"}})
    assert (await client.get(f"/v1/pushes/{ran.json()['id']}")).status_code == 404
    assert (await client.get("/v1/pushes/none")).status_code == 404


@pytest.mark.parametrize(
    ("to", "content", "headers", "status", "said"),
    [
        pytest.param(PUSHES, b"", {}, 422, "The body is empty", id="empty"),
        pytest.param(PUSHES, b"x", {"Content-Type": "application/json"}, 415, "application/x-tar", id="type"),
        pytest.param(PUSHES, b"x" * 2_000_001, {}, 413, "2,000,000 bytes", id="large"),
        pytest.param(PUSHES, b"x", {"Samovar-Digest": "0" * 64}, 422, "the body's sha256 is 2d71", id="digest"),
        pytest.param("/v1/models/Mine/model/versions", b"x", {}, 422, "owner 'Mine'", id="owner"),
        pytest.param(f"/v1/models/mine/{'m' * 65}/versions", b"x", {}, 422, "a name is 1 to 64", id="name"),
        pytest.param("/v1/models/mine/.m/versions", b"x", {}, 422, "begins with", id="dot"),
    ],
)
async def test_an_invalid_push_is_refused_and_leaves_nothing(
    client: httpx.AsyncClient, tmp_path: Path, to: str, content: bytes, headers: dict, status: int, said: str
):
    answer = await push(client, content, to, **headers)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert said in answer.json()["detail"]
    assert stored_files(tmp_path) == []


async def test_a_body_of_unknown_length_stops_at_the_limit(client: httpx.AsyncClient, tmp_path: Path):
    async def pieces() -> AsyncGenerator[bytes]:
        for _ in range(40):
            yield b"x" * 100_000

    answer = await client.post(PUSHES, content=pieces(), headers={"Content-Type": "application/x-tar"})
    assert answer.status_code == 413
    assert stored_files(tmp_path) == []


async def test_a_matching_digest_is_accepted(client: httpx.AsyncClient):
    digest = hashlib.sha256(archive()).hexdigest()
    assert (await push(client, archive(), **{"Samovar-Digest": digest})).status_code == 201


async def test_a_client_that_goes_away_leaves_nothing(client: httpx.AsyncClient, url: str, tmp_path: Path):
    host, port = url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    head = f"POST {PUSHES} HTTP/1.1\r\nHost: x\r\nAuthorization: {client.headers['authorization']}\r\n"
    writer.write(f"{head}Content-Type: application/x-tar\r\nContent-Length: 1500000\r\n\r\n".encode() + b"x" * 700_000)
    await writer.drain()
    incoming = tmp_path / "files" / "incoming"
    async with asyncio.timeout(10):
        while not (incoming.is_dir() and any(incoming.iterdir())):  # noqa: ASYNC110  a folder tells nobody
            await asyncio.sleep(0)
    writer.close()
    async with asyncio.timeout(10):
        while any(incoming.iterdir()):  # noqa: ASYNC110  a folder tells nobody
            await asyncio.sleep(0)
    assert (await client.get("/v1/predictions")).json()["results"] == []


async def test_nobody_pushes_to_the_name_of_another_account(client: httpx.AsyncClient, database_url: str):
    connection = await asyncpg.connect(database_url)
    await connection.execute("INSERT INTO accounts (username, name) VALUES ('rival', 'rival')")
    await connection.close()
    answer = await push(client, archive(), "/v1/models/rival/model/versions")
    assert answer.status_code == 403
    assert "rival is another account" in answer.json()["detail"]
    assert (await push(client, archive(), "/v1/models/samovar/model/versions")).status_code == 201


async def test_a_file_store_that_is_gone_refuses(client: httpx.AsyncClient, tmp_path: Path):
    (tmp_path / "files").rmdir()
    (tmp_path / "files").touch()  # a file where the folder was: nothing can be made in it
    answer = await push(client, archive())
    (tmp_path / "files").unlink()
    assert answer.status_code == 503
    assert "SAMOVAR_FILES_URL" in answer.json()["detail"]


async def test_an_archive_received_in_pieces_is_stored_whole(client: httpx.AsyncClient, tmp_path: Path):
    content = os.urandom(1_900_000)

    async def pieces() -> AsyncGenerator[bytes]:
        for at in range(0, len(content), 7_001):
            yield content[at : at + 7_001]

    answer = await client.post(PUSHES, content=pieces(), headers={"Content-Type": "application/x-tar"})
    assert answer.status_code == 201, answer.text
    pack = tmp_path / "files" / "packs" / f"{hashlib.sha256(content).hexdigest()}.tar"
    assert pack.read_bytes() == content
