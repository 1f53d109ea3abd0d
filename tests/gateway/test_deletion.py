import asyncio
from collections.abc import Callable
from pathlib import Path

import asyncpg
import httpx
import pytest
from nats.aio.client import Client
from nats.js import JetStreamContext

from schemas import subjects
from schemas.events import Canceled
from schemas.jobs import decode_cancel
from schemas.models import decode_retired_versions
from tests.gateway.conftest import ECHO, FakeRunner, now
from tests.gateway.other_accounts import open_client
from tests.gateway.test_predictions import until
from tests.gateway.test_pushes import PUSHES, archive, push_version, start_push, stored_files
from tests.gateway.test_recovery import remake


async def predict(client: httpx.AsyncClient, version: str) -> dict:
    answer = await client.post("/v1/predictions", json={"version": version, "input": {"text": "hi"}})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_a_version_that_is_deleted_is_gone_with_its_files(
    client: httpx.AsyncClient, runner: FakeRunner, nc: Client, tmp_path: Path
):
    done = await push_version(client, runner, archive())
    retired = await nc.subscribe(subjects.RETIRED)
    await nc.flush()
    answer = await client.delete(f"{PUSHES}/{done['version']}")
    assert (answer.status_code, answer.content) == (202, b"")
    assert decode_retired_versions((await retired.next_msg(5)).data).versions == [done["version"]]
    assert (await client.get(f"{PUSHES}/{done['version']}")).status_code == 404
    assert (await client.get("/v1/models/mine/model")).json()["latest_version"] is None
    refused = await client.post("/v1/predictions", json={"version": done["version"], "input": {"text": "hi"}})
    assert refused.status_code == 422
    assert stored_files(tmp_path) == []


async def test_the_newest_remaining_version_becomes_the_latest(client: httpx.AsyncClient, runner: FakeRunner):
    versions = [(await push_version(client, runner, archive(text)))["version"] for text in ("one", "two", "three")]
    await client.delete(f"{PUSHES}/{versions[2]}")
    assert (await client.get("/v1/models/mine/model")).json()["latest_version"]["id"] == versions[1]
    ran = await client.post("/v1/models/mine/model/predictions", json={"input": {"text": "hi"}})
    assert ran.json()["version"] == versions[1]


async def test_queued_predictions_end_with_the_reason(
    client: httpx.AsyncClient, runner: FakeRunner, js: JetStreamContext
):
    done = await push_version(client, runner, archive())
    waiting = [await predict(client, done["version"]) for _ in range(3)]
    await client.delete(f"{PUSHES}/{done['version']}")
    for each in waiting:
        assert (await until(client, each["id"], "canceled"))["error"] == "The version was deleted."
    assert (await js.stream_info(subjects.JOBS)).state.messages == 0


async def test_a_running_prediction_is_canceled_where_it_runs(
    client: httpx.AsyncClient, runner: FakeRunner, nc: Client
):
    done = await push_version(client, runner, archive())
    await predict(client, done["version"])
    job = await runner.next_job()
    run = await runner.publish_lines(job, ["a"])
    cancels = await nc.subscribe(subjects.CANCELS)
    await nc.flush()
    await client.delete(f"{PUSHES}/{done['version']}")
    told = decode_cancel((await cancels.next_msg(5)).data)
    assert (told.id, told.reason) == (job.id, "The version was deleted.")
    assert (await client.get(f"/v1/predictions/{job.id}")).json()["status"] == "processing"
    await runner.publish(Canceled(id=job.id, run=run, at=now(), outputs=1, many=True, error=told.reason))
    seen = await until(client, job.id, "canceled")
    assert (seen["output"], seen["error"]) == (["a"], "The version was deleted.")


async def test_a_create_that_races_the_delete_ends(client: httpx.AsyncClient, runner: FakeRunner, database_url: str):
    """Its gateway had not heard yet that the version is gone."""
    done = await push_version(client, runner, archive())
    assert (await client.get(f"{PUSHES}/{done['version']}")).status_code == 200
    connection = await asyncpg.connect(database_url)
    await connection.execute("DELETE FROM versions WHERE id = $1", done["version"])
    begun = await predict(client, done["version"])
    await connection.execute("UPDATE predictions SET due_at = now() WHERE id = $1", begun["id"])
    await connection.close()
    assert (await until(client, begun["id"], "canceled"))["error"] == "The version was deleted."


async def test_every_gateway_forgets_a_deleted_version(client: httpx.AsyncClient, runner: FakeRunner, start: Callable):
    done = await push_version(client, runner, archive())
    async with httpx.AsyncClient(base_url=await start(), headers=client.headers, trust_env=False) as other:
        assert (await other.get(f"{PUSHES}/{done['version']}")).status_code == 200
        await client.delete(f"{PUSHES}/{done['version']}")
        async with asyncio.timeout(10):
            while (await other.get(f"{PUSHES}/{done['version']}")).status_code != 404:
                pass


async def test_a_push_that_was_deleted_since_does_not_bring_it_back(client: httpx.AsyncClient, runner: FakeRunner):
    done = await push_version(client, runner, archive())
    await client.delete(f"{PUSHES}/{done['version']}")
    assert (await client.get(done["urls"]["get"])).json()["status"] == "succeeded"
    assert (await client.get(f"{PUSHES}/{done['version']}")).status_code == 404
    again = await push_version(client, runner, archive())
    assert (await client.get(f"{PUSHES}/{again['version']}")).status_code == 200


async def test_an_archive_stays_while_another_version_is_made_of_it(
    client: httpx.AsyncClient, runner: FakeRunner, tmp_path: Path
):
    one = await push_version(client, runner, archive())
    two = await push_version(client, runner, archive(), "/v1/models/mine/other/versions")
    await client.delete(f"{PUSHES}/{one['version']}")
    assert [key.split("/")[0] for key in stored_files(tmp_path)] == ["packs", "versions"]
    assert f"versions/{two['version']}.json" in stored_files(tmp_path)
    await client.delete(f"/v1/models/mine/other/versions/{two['version']}")
    assert stored_files(tmp_path) == []


async def test_an_archive_stays_while_a_push_of_it_is_under_way(
    client: httpx.AsyncClient, runner: FakeRunner, tmp_path: Path
):
    one = await push_version(client, runner, archive())
    two = await start_push(client, archive(), "/v1/models/mine/other/versions")
    await client.delete(f"{PUSHES}/{one['version']}")
    assert [key.split("/")[0] for key in stored_files(tmp_path)] == ["packs", "versions"]
    assert f"versions/{two['version']}.json" in stored_files(tmp_path)


async def test_a_model_goes_with_all_that_belongs_to_it(client: httpx.AsyncClient, runner: FakeRunner, tmp_path: Path):
    versions = [(await push_version(client, runner, archive(text)))["version"] for text in ("one", "two")]
    waiting = await predict(client, versions[0])
    building = await start_push(client, archive("three"))
    answer = await client.delete("/v1/models/mine/model")
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await client.get("/v1/models/mine/model")).status_code == 404
    assert [(await client.get(f"{PUSHES}/{version}")).status_code for version in versions] == [404, 404]
    assert (await until(client, waiting["id"], "canceled"))["error"] == "The version was deleted."
    async with asyncio.timeout(10):
        while (await client.get(building["urls"]["get"])).json()["status"] != "canceled":
            pass
    names = [model["name"] for model in (await client.get("/v1/models")).json()["results"]]
    assert "model" not in names


@pytest.mark.parametrize("path", [f"/v1/models/acme/echo/versions/{ECHO.version}", "/v1/models/acme/echo"])
async def test_a_version_in_a_runners_own_folder_cannot_be_deleted(
    client: httpx.AsyncClient, runner: FakeRunner, path: str
):
    answer = await client.delete(path)
    assert answer.status_code == 422
    assert "comes from a folder of the runner on here" in answer.json()["detail"]
    assert (await client.get(path)).status_code == 200


@pytest.mark.parametrize(
    "path", ["/v1/models/mine/none", f"{PUSHES}/{'0' * 64}", f"/v1/models/mine/other/versions/{ECHO.version}"]
)
async def test_a_missing_version_cannot_be_deleted(client: httpx.AsyncClient, runner: FakeRunner, path: str):
    assert (await client.delete(path)).status_code == 404


async def test_only_admins_delete_somebody_elses_model(
    client: httpx.AsyncClient, runner: FakeRunner, url: str, database_url: str
):
    done = await push_version(client, runner, archive())
    connection = await asyncpg.connect(database_url)
    await connection.execute("INSERT INTO accounts (username, name) VALUES ('mine', 'mine')")
    await connection.close()
    async with open_client(url, database_url, "eve") as eve:
        assert (await eve.delete(f"{PUSHES}/{done['version']}")).status_code == 403
        assert (await eve.delete("/v1/models/mine/model")).status_code == 403
    assert (await client.delete("/v1/models/mine/model")).status_code == 204


async def test_a_run_that_never_stops_is_ended_after_a_minute(
    client: httpx.AsyncClient, runner: FakeRunner, nc: Client, database_url: str
):
    done = await push_version(client, runner, archive())
    begun = await predict(client, done["version"])
    await runner.publish_lines(await runner.next_job(), ["a"])
    await client.delete(f"{PUSHES}/{done['version']}")
    connection = await asyncpg.connect(database_url)
    await connection.execute(
        "UPDATE predictions SET cancel_requested_at = now() - interval '2 minutes', due_at = now() WHERE id = $1",
        begun["id"],
    )
    await connection.close()
    assert (await until(client, begun["id"], "canceled"))["error"] == "The version was deleted."


async def test_a_deleted_version_ends_though_the_broker_lost_its_jobs(
    client: httpx.AsyncClient, runner: FakeRunner, nc: Client
):
    done = await push_version(client, runner, archive())
    begun = await predict(client, done["version"])
    await remake(nc, subjects.JOBS)
    await remake(nc, subjects.EVENTS)
    await client.delete(f"{PUSHES}/{done['version']}")
    assert (await until(client, begun["id"], "canceled"))["error"] == "The version was deleted."
