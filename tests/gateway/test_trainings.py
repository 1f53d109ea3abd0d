import asyncio
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from msgspec import Raw, json, structs
from nats.aio.client import Client
from nats.js import JetStreamContext

from schemas import keys, subjects
from schemas.events import Canceled, Failed, Started, Succeeded
from schemas.jobs import Job
from schemas.models import Registration, TrainingResult, VersionInfo, Weights, decode_manifest
from tests.gateway.conftest import ECHO, FakeRunner, frames, now

TRAINING_INPUT = {
    "type": "object",
    "title": "TrainingInput",
    "required": ["examples"],
    "properties": {
        "examples": {"type": "string", "format": "uri", "x-order": 0},
        "epochs": {"type": "integer", "minimum": 1, "maximum": 9, "x-order": 1},
    },
}
TRAININGS = f"/v1/models/acme/pupil/versions/{'e' * 64}/trainings"
MINE = "samovar/mine"
INPUT = {"examples": "https://example.com/data.csv", "epochs": 2}


def pupil() -> VersionInfo:
    document = json.decode(bytes(ECHO.openapi_schema))
    document["components"]["schemas"]["TrainingInput"] = TRAINING_INPUT
    return structs.replace(ECHO, name="pupil", version="e" * 64, openapi_schema=Raw(json.encode(document)))


@pytest.fixture
async def trainer(client: httpx.AsyncClient, nc: Client, runner: FakeRunner, database_url: str) -> FakeRunner:
    """A runner that offers a model which can be trained; and a model of the caller's to train into."""
    connection = await asyncpg.connect(database_url)
    for name in ("mine", "other"):
        await connection.execute("INSERT INTO models (owner, name) VALUES ('samovar', $1)", name)
    await connection.execute("INSERT INTO accounts (username, name) VALUES ('eve', 'Eve')")
    await connection.execute("INSERT INTO models (owner, name) VALUES ('eve', 'hers')")
    await connection.close()
    await nc.publish(subjects.REGISTRATIONS, json.encode(Registration(agent="fake", offers=[pupil()])))
    async with asyncio.timeout(5):
        while (await client.get("/v1/models/acme/pupil")).status_code != 200:
            pass
    await runner.send_heartbeat(versions=["e" * 64])
    return runner


async def train(client: httpx.AsyncClient, to: str = TRAININGS, **body: Any) -> httpx.Response:
    return await client.post(to, json={"destination": MINE, "input": INPUT, **body})


async def start_training(client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    answer = await train(client, **body)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def succeed(runner: FakeRunner, job: Job, files: Path, content: bytes = b"learned", **fields: Any) -> str:
    """As a runner whose `train` returned a file; its key."""
    key = f"out/{job.id}/secret/weights.bin"
    (files / key).parent.mkdir(parents=True, exist_ok=True)
    (files / key).write_bytes(content)
    weights = Weights(key=f"file:{key}", sha256=hashlib.sha256(content).hexdigest(), size=len(content))
    said = TrainingResult(output=Raw(json.encode({"weights": f"file:{key}", **fields})), weights=weights)
    await runner.publish(
        Succeeded(
            id=job.id,
            run=runner.next_run(job.attempt),
            at=now(),
            started_at=now(),
            values=[Raw(json.encode(said))],
            files=[key],
            log="loss 0.1\n",
            metrics={"predict_time": 2.0},
        )
    )
    return key


async def wait_for_end(client: httpx.AsyncClient, training: dict[str, Any]) -> dict[str, Any]:
    async with asyncio.timeout(10):
        while "completed_at" not in (found := (await client.get(training["urls"]["get"])).json()):
            pass
    return found


async def latest_version(client: httpx.AsyncClient, model: str = MINE) -> str | None:
    found = (await client.get(f"/v1/models/{model}")).json()["latest_version"]
    return found and found["id"]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    return tmp_path / "files"


async def test_a_training_is_a_job_for_whoever_trains(
    client: httpx.AsyncClient, trainer: FakeRunner, js: JetStreamContext
):
    answer = await train(client, webhook="https://example.com/hook", webhook_events_filter=["completed"])
    made = answer.json()
    assert answer.headers["location"] == made["urls"]["get"]
    assert made["urls"]["get"].endswith(f"/v1/trainings/{made['id']}")
    assert made["urls"]["cancel"].endswith(f"/v1/trainings/{made['id']}/cancel")
    assert (made["model"], made["version"], made["status"]) == ("acme/pupil", "e" * 64, "starting")
    assert (made["input"], made["output"], made["error"], made["logs"]) == (INPUT, None, None, "")
    assert (made["webhook"], made["webhook_events_filter"]) == ("https://example.com/hook", ["completed"])
    assert await js.get_last_msg(subjects.JOBS, subjects.trainings("default")) is not None
    job = await trainer.next_job()
    assert (job.kind, job.id, job.version, json.decode(bytes(job.input))) == ("train", made["id"], "e" * 64, INPUT)


async def test_a_trained_version_is_the_latest_of_its_destination(
    client: httpx.AsyncClient, trainer: FakeRunner, files: Path
):
    training = await start_training(client)
    job = await trainer.next_job()
    key = await succeed(trainer, job, files, loss=0.1)
    done = await wait_for_end(client, training)
    assert (done["status"], done["logs"], done["error"]) == ("succeeded", "loss 0.1\n", None)
    assert done["metrics"]["predict_time"] == 2.0
    assert done["metrics"]["total_time"] >= 0
    name, _, id = done["output"]["version"].partition(":")
    assert name == MINE
    assert done["output"]["loss"] == 0.1
    assert (await client.get(done["output"]["weights"])).content == b"learned"
    assert await latest_version(client) == id
    version = (await client.get(f"/v1/models/{MINE}/versions/{id}")).json()
    assert "TrainingInput" in version["openapi_schema"]["components"]["schemas"]
    assert (await client.get(f"/v1/models/{MINE}/versions/{id}/logs")).text == "loss 0.1\n"
    manifest = decode_manifest((files / keys.manifest(id)).read_bytes())
    assert (manifest.version, manifest.base) == (id, "e" * 64)
    digest = hashlib.sha256(b"learned").hexdigest()
    assert manifest.weights == Weights(key=key, sha256=digest, size=7)
    ran = await client.post(f"/v1/models/{MINE}/predictions", json={"input": {"text": "hi"}})
    assert (ran.status_code, ran.json()["version"], ran.json()["starting"]) == (201, id, "queued")


async def test_two_gateways_make_one_version(
    client: httpx.AsyncClient, trainer: FakeRunner, files: Path, start: Callable[..., Any], database_url: str
):
    async with httpx.AsyncClient(base_url=await start(), headers=client.headers, trust_env=False) as other:
        training = await start_training(client)
        await succeed(trainer, await trainer.next_job(), files)
        elsewhere = {**training, "urls": {"get": f"/v1/trainings/{training['id']}"}}
        seen = await asyncio.gather(
            *(wait_for_end(each, about) for each, about in ((client, training), (other, elsewhere)) for _ in range(4))
        )
    assert len({found["output"]["version"] for found in seen}) == 1
    connection = await asyncpg.connect(database_url)
    rows = await connection.fetch("SELECT id, base, weights FROM versions WHERE owner = 'samovar' AND name = 'mine'")
    await connection.close()
    assert [(f"{MINE}:{row['id']}", row["base"]) for row in rows] == [(seen[0]["output"]["version"], "e" * 64)]


async def test_a_version_is_made_though_nobody_follows_the_training(
    client: httpx.AsyncClient, trainer: FakeRunner, files: Path
):
    await start_training(client)
    await succeed(trainer, await trainer.next_job(), files)
    async with asyncio.timeout(10):
        while await latest_version(client) is None:
            pass


async def test_the_same_weights_are_the_same_version(client: httpx.AsyncClient, trainer: FakeRunner, files: Path):
    made = []
    for content in (b"one", b"two", b"one"):
        training = await start_training(client)
        await succeed(trainer, await trainer.next_job(), files, content)
        made.append((await wait_for_end(client, training))["output"]["version"])
        assert await latest_version(client) == made[-1].partition(":")[2]
    assert made[0] == made[2] != made[1]


async def test_a_trained_version_can_be_trained(client: httpx.AsyncClient, trainer: FakeRunner, files: Path):
    training = await start_training(client)
    await succeed(trainer, await trainer.next_job(), files)
    first = (await wait_for_end(client, training))["output"]["version"].partition(":")[2]
    further = await train(client, f"/v1/models/{MINE}/versions/{first}/trainings", destination="samovar/other")
    assert further.status_code == 201, further.text
    job = await trainer.next_job()
    assert job.version == first
    await succeed(trainer, job, files, b"more")
    second = (await wait_for_end(client, further.json()))["output"]["version"].partition(":")[2]
    ran = await client.post("/v1/models/samovar/other/predictions", json={"input": {"text": "hi"}})
    assert (ran.json()["version"], ran.json()["starting"]) == (second, "queued")  # whoever has the folder can run it


def make_older(files: Path) -> None:
    for path in filter(Path.is_file, files.rglob("*")):
        os.utime(path, (0, 0))


REFUSED = [
    pytest.param({"input": {"epochs": 2}}, 422, "- input: examples is required\n", id="input"),
    pytest.param({"input": {**INPUT, "epochs": 99}}, 422, "Must be less than or equal to 9", id="limit"),
    pytest.param({"input": {**INPUT, "examples": "x\0"}}, 422, "NUL characters", id="NUL in the input"),
    pytest.param({"destination": None}, 422, "destination is required", id="no destination"),
    pytest.param({"destination": 7}, 422, "destination: Expected `str | null`", id="not a text"),
    pytest.param({"destination": "samovar/none"}, 404, "The specified training destination does not exist", id="none"),
    pytest.param({"destination": "eve/hers"}, 404, "The specified training destination does not exist", id="hers"),
    pytest.param({"destination": "mine"}, 404, "The specified training destination does not exist", id="no owner"),
    pytest.param({"destination": "samovar/m\0"}, 404, "The specified training destination does not exist", id="NUL"),
    pytest.param({"extra": 1}, 422, "Additional property extra is not allowed", id="unknown field"),
    pytest.param({"webhook_events_filter": ["end"]}, 422, "webhook_events_filter takes", id="unknown event"),
]


@pytest.mark.parametrize(("body", "status", "detail"), REFUSED)
async def test_an_invalid_training_is_refused(
    client: httpx.AsyncClient, trainer: FakeRunner, body: dict[str, Any], status: int, detail: str
):
    answer = await train(client, **body)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert detail in answer.json()["detail"]
    assert (await client.get("/v1/trainings")).json()["results"] == []


async def test_a_version_without_train_is_refused_with_a_reason(client: httpx.AsyncClient, trainer: FakeRunner):
    refused = await train(client, f"/v1/models/acme/echo/versions/{ECHO.version}/trainings")
    assert refused.status_code == 422
    assert refused.json()["detail"].startswith("acme/echo: this version cannot be trained")
    for path in (f"acme/echo/versions/{'e' * 64}", f"acme/pupil/versions/{'f' * 64}"):
        assert (await train(client, f"/v1/models/{path}/trainings")).status_code == 404


async def test_a_canceled_training_makes_no_version(client: httpx.AsyncClient, trainer: FakeRunner, nc: Client):
    training = await start_training(client)
    job, run = await trainer.next_job(), trainer.next_run()
    await trainer.publish(Started(id=job.id, run=run, at=now()))  # else the gateway would end it itself
    asked = await nc.subscribe(subjects.CANCELS)
    await nc.flush()
    canceling = asyncio.create_task(client.post(training["urls"]["cancel"]))
    assert json.decode((await asked.next_msg(5)).data)["id"] == job.id
    await trainer.publish(Canceled(id=job.id, run=run, at=now()))
    assert (await canceling).json()["status"] == "canceled"
    again = await client.post(training["urls"]["cancel"])
    assert (again.status_code, again.json()["status"]) == (200, "canceled")
    assert await latest_version(client) is None


async def test_a_failed_training_shows_its_error(client: httpx.AsyncClient, trainer: FakeRunner):
    training = await start_training(client)
    job = await trainer.next_job()
    await trainer.publish(Failed(id=job.id, run=trainer.next_run(), at=now(), error="no data", log="reading\n"))
    done = await wait_for_end(client, training)
    assert (done["status"], done["error"], done["logs"], done["output"]) == ("failed", "no data", "reading\n", None)


async def test_a_training_streams_its_log(client: httpx.AsyncClient, trainer: FakeRunner, files: Path):
    training = await start_training(client)
    job = await trainer.next_job()
    seen: list[tuple[str, str]] = []
    async with client.stream("GET", training["urls"]["stream"]) as response:
        await succeed(trainer, job, files)
        async for event, _, data in frames(response):
            seen.append((event, data))
            if (event, data) == ("status", '{"status":"succeeded"}'):
                assert await latest_version(client) is not None
    assert ("logs", "loss 0.1\n") in seen
    assert seen[-1] == ("done", "{}")
    assert "output" not in {event for event, _ in seen}


async def test_trainings_and_predictions_are_listed_apart(client: httpx.AsyncClient, trainer: FakeRunner):
    made = [(await start_training(client))["id"] for _ in range(4)]
    assert (await client.get(f"/v1/predictions/{made[0]}")).status_code == 404
    assert (await client.get("/v1/predictions")).json()["results"] == []
    first = (await client.get("/v1/trainings")).json()
    second = (await client.get(first["next"])).json()
    assert [each["id"] for each in first["results"] + second["results"]] == made[::-1]
    predicted = await client.post("/v1/models/acme/echo/predictions", json={"input": {"text": "hi"}})
    assert (await client.get(f"/v1/trainings/{predicted.json()['id']}")).status_code == 404


async def test_a_destination_that_was_deleted_fails_the_training(
    client: httpx.AsyncClient, trainer: FakeRunner, files: Path, database_url: str
):
    training = await start_training(client)
    connection = await asyncpg.connect(database_url)
    await connection.execute("DELETE FROM models WHERE owner = 'samovar' AND name = 'mine'")
    await succeed(trainer, await trainer.next_job(), files)
    error = "The model samovar/mine was deleted before the training ended."
    done = await wait_for_end(client, training)
    assert (done["status"], done["error"], done["output"]) == ("failed", error, None)
    await connection.execute("INSERT INTO models (owner, name) VALUES ('samovar', 'mine')")
    await connection.close()
    assert (await client.get(training["urls"]["get"])).json()["status"] == "failed"  # once told, for good
    assert await latest_version(client) is None


async def test_a_version_with_trained_versions_is_not_deleted(
    client: httpx.AsyncClient, trainer: FakeRunner, files: Path
):
    training = await start_training(client)
    key = await succeed(trainer, await trainer.next_job(), files)
    id = (await wait_for_end(client, training))["output"]["version"].partition(":")[2]
    await trainer.send_heartbeat(versions=[])  # else it would be refused as the runner's own
    base = f"/v1/models/acme/pupil/versions/{'e' * 64}"
    async with asyncio.timeout(5):
        while "trained from" not in (refused := await client.delete(base)).text:
            pass
    assert (refused.status_code, (await client.delete("/v1/models/acme/pupil")).status_code) == (422, 422)
    assert (await client.get(base)).status_code == 200
    assert (await client.delete(f"/v1/models/{MINE}/versions/{id}")).status_code == 202
    assert not (files / key).exists()
    assert not (files / keys.manifest(id)).exists()
    assert await latest_version(client) is None
    assert (await client.delete(base)).status_code == 202


async def test_deleting_the_destination_cancels_what_trains_for_it(
    client: httpx.AsyncClient, trainer: FakeRunner, nc: Client, js: JetStreamContext
):
    training = await start_training(client)
    job = await trainer.next_job()
    await trainer.publish(Started(id=job.id, run=trainer.next_run(), at=now()))
    asked = await nc.subscribe(subjects.CANCELS)
    assert (await client.delete(f"/v1/models/{MINE}")).status_code == 204
    assert json.decode((await asked.next_msg(5)).data)["id"] == training["id"]


async def test_the_weights_of_a_version_are_no_waste(
    client: httpx.AsyncClient, trainer: FakeRunner, files: Path, database_url: str
):
    training = await start_training(client)
    key = await succeed(trainer, await trainer.next_job(), files)
    await wait_for_end(client, training)
    make_older(files)
    connection = await asyncpg.connect(database_url)
    await connection.execute("DELETE FROM predictions")
    assert (await client.get("/v1/gc")).json()["items"] == []
    await connection.execute("DELETE FROM versions WHERE name = 'mine'")
    await connection.close()
    freed = (await client.post("/v1/gc")).json()
    assert {item["key"].partition("/")[0] for item in freed["items"]} == {"out", "versions"}
    assert not (files / key).exists()
