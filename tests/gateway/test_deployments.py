"""Deployments: their releases, which one takes predictions, and what is published to runners."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import asyncpg
import httpx
import pytest
from msgspec import structs
from nats.aio.client import Client
from nats.aio.msg import Msg

from gateway.settings import Settings
from gateway.store.accounts import hash_token
from schemas import subjects
from schemas.models import Device, Releases, decode_releases
from tests.gateway.conftest import ECHO, LINES, FakeRunner

BODY = {
    "name": "echo-prod",
    "model": "acme/echo",
    "version": ECHO.version,
    "hardware": "cpu",
    "min_instances": 0,
    "max_instances": 2,
}
OTHER = "d" * 64
"""A second version of acme/echo."""
AT = "/v1/deployments/samovar/echo-prod"


class PublishedReleases:
    """The releases that gateways published last."""

    def __init__(self) -> None:
        self.last: Releases | None = None
        self.times = 0

    async def receive(self, message: Msg) -> None:
        self.last = decode_releases(message.data)
        self.times += 1

    @property
    def numbers(self) -> dict[str, tuple[int, int]]:
        """Minimum and maximum of instances, by number of the queue."""
        releases = self.last.releases if self.last else []
        return {each.pool.partition("+")[2]: (each.min_instances, each.max_instances) for each in releases}

    def service(self, queue: int) -> str:
        assert self.last is not None
        return next(
            subjects.service(each.pool, each.version) for each in self.last.releases if each.pool.endswith(f"+{queue}")
        )


@pytest.fixture
async def published(nc: Client) -> PublishedReleases:
    published = PublishedReleases()
    await nc.subscribe(subjects.RELEASES, cb=published.receive)
    await nc.flush()
    return published


@pytest.fixture
async def db(settings: Settings) -> AsyncGenerator[asyncpg.Connection]:
    connection = await asyncpg.connect(settings.database_url)
    yield connection
    await connection.close()


@pytest.fixture
async def ready(
    runner: FakeRunner, db: asyncpg.Connection, published: PublishedReleases, client: httpx.AsyncClient
) -> FakeRunner:
    """With a second version of echo, and a runner of hardware `cpu`."""
    await db.execute(
        """INSERT INTO versions (id, owner, name, pool, cog_version, openapi_schema)
           SELECT $1, owner, name, pool, cog_version, openapi_schema FROM versions WHERE id = $2
           ON CONFLICT DO NOTHING""",
        OTHER,
        ECHO.version,
    )
    await runner.send_heartbeat(hardware="cpu")
    return runner


@pytest.fixture
async def deployed(ready: FakeRunner, client: httpx.AsyncClient, published: PublishedReleases) -> FakeRunner:
    assert (await client.post("/v1/deployments", json=BODY)).status_code == 200
    await wait_until(lambda: published.numbers == {"1": (0, 2)})
    return ready


async def wait_until(true: Callable[[], object]) -> None:
    async def now() -> object:
        return true()

    await wait_until_async(now)


async def wait_until_async(true: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(5):
        while True:
            if await true():
                return
            await asyncio.sleep(0.01)


async def serving_release(client: httpx.AsyncClient) -> int:
    return (await client.get(AT)).json()["serving"]["number"]


async def run(client: httpx.AsyncClient) -> dict[str, Any]:
    response = await client.post(f"{AT}/predictions", json={"input": {"text": "hi"}})
    assert response.status_code == 201, response.text
    return response.json()


async def test_a_deployment_reads_as_clients_expect(ready: FakeRunner, client: httpx.AsyncClient):
    made = await client.post("/v1/deployments", json=BODY)
    assert made.status_code == 200
    shown = made.json()
    assert shown == (await client.get(AT)).json()
    release = shown["current_release"]
    assert release.pop("created_at").endswith("Z")
    assert release == {
        "number": 1,
        "model": "acme/echo",
        "version": ECHO.version,
        "created_by": {"type": "user", "username": "samovar", "name": "samovar"},
        "configuration": {"hardware": "cpu", "min_instances": 0, "max_instances": 2},
    }
    assert (shown["owner"], shown["name"]) == ("samovar", "echo-prod")
    assert shown["serving"] == {"number": 1, "version": ECHO.version, "warm": False}


async def test_lists_have_pages(ready: FakeRunner, client: httpx.AsyncClient):
    names = [f"echo-{n}" for n in range(5)]
    for name in names:
        assert (await client.post("/v1/deployments", json={**BODY, "name": name})).status_code == 200
    first = (await client.get("/v1/deployments")).json()
    second = (await client.get(first["next"])).json()
    assert [each["name"] for each in first["results"] + second["results"]] == names[::-1]
    assert second["next"] is None

    for most in range(3, 6):
        await client.patch("/v1/deployments/samovar/echo-1", json={"max_instances": most})
    first = (await client.get("/v1/deployments/samovar/echo-1/releases")).json()
    second = (await client.get(first["next"])).json()
    assert [each["number"] for each in first["results"] + second["results"]] == [4, 3, 2, 1]


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"name": "Echo prod"}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"name": "a\0"}, "name"),
        ({"model": "acme/lines"}, "version"),
        ({"hardware": "gpu-none"}, "hardware"),
        ({"min_instances": 6}, "min_instances"),
        ({"max_instances": 21}, "max_instances"),
        ({"max_instances": 10**30}, "max_instances"),
        ({"min_instances": 2, "max_instances": 1}, "max_instances"),
    ],
)
async def test_a_wrong_field_is_named(
    ready: FakeRunner, client: httpx.AsyncClient, changed: dict[str, Any], field: str
):
    refused = await client.post("/v1/deployments", json={**BODY, **changed})
    assert refused.status_code == 422
    assert refused.json()["invalid_fields"][0]["field"] == field


async def test_other_invalid_requests_are_refused(deployed: FakeRunner, client: httpx.AsyncClient):
    assert "cpu" in (await client.post("/v1/deployments", json={**BODY, "hardware": "gpu-none"})).json()["detail"]
    assert (await client.post("/v1/deployments", json=BODY)).status_code == 422
    assert (await client.post("/v1/deployments", json={**BODY, "name": "x", "version": "e" * 64})).status_code == 422
    assert (await client.post("/v1/deployments", json={**BODY, "name": "x", "version": "a/b\0"})).status_code == 422
    assert (await client.post("/v1/deployments", json={"name": "x"})).status_code == 422
    for change in ({"version": LINES.version}, {"min_instances": 5}, {"hardware": "no"}, {"model": "acme/lines"}):
        assert (await client.patch(AT, json=change)).status_code == 422, change
    for number in (7, 0, 2**40):
        assert (await client.post(f"{AT}/rollback", json={"number": number})).status_code == 422
    assert (await client.post(f"{AT}/rollback")).status_code == 422
    assert (await client.get(AT)).json()["current_release"]["number"] == 1
    assert (await client.get("/v1/deployments/samovar/a%00b")).status_code == 404
    response = await client.post("/v1/deployments/samovar/a%00b/predictions", json={"input": {"text": "hi"}})
    assert response.status_code == 404


async def test_an_empty_change_creates_no_release(deployed: FakeRunner, client: httpx.AsyncClient):
    assert (await client.patch(AT, json={})).json()["current_release"]["number"] == 1


async def test_deployments_of_others_are_not_found(deployed: FakeRunner, url: str, db: asyncpg.Connection):
    other = await db.fetchval("INSERT INTO accounts (username, name) VALUES ('bob', 'Bob') RETURNING id")
    await db.execute("INSERT INTO tokens (hash, account) VALUES ($1, $2)", hash_token("bobs"), other)
    async with httpx.AsyncClient(base_url=url, headers={"Authorization": "Bearer bobs"}, trust_env=False) as bob:
        answers = [
            await bob.get(AT),
            await bob.patch(AT, json={"min_instances": 1}),
            await bob.delete(AT),
            await bob.post(f"{AT}/rollback"),
            await bob.get(f"{AT}/releases"),
            await bob.post(f"{AT}/predictions", json={"input": {"text": "hi"}}),
        ]
        assert [each.status_code for each in answers] == [404] * 6
        assert (await bob.get("/v1/deployments")).json()["results"] == []


async def test_a_prediction_waits_in_the_queue_of_its_release(
    deployed: FakeRunner, client: httpx.AsyncClient, published: PublishedReleases
):
    p = await run(client)
    assert (p["deployment"], p["model"], p["version"]) == ("samovar/echo-prod", "acme/echo", ECHO.version)
    job = await deployed.next_job()
    assert job.id == p["id"]
    await deployed.publish_echo(job)
    await wait_until_async(lambda: has_ended(client, p["id"]))
    shown = (await client.get(f"/v1/predictions/{p['id']}")).json()
    assert (shown["output"], shown["deployment"]) == ("echo hi", "samovar/echo-prod")


async def test_a_list_shows_why_each_prediction_waits(
    deployed: FakeRunner, client: httpx.AsyncClient, published: PublishedReleases
):
    """Of one version, and for different reasons: one through the deployment, and one not."""
    through = await run(client)
    body = {"version": ECHO.version, "input": {"text": "hi"}}
    beside = (await client.post("/v1/predictions", json=body)).json()
    await deployed.send_heartbeat(hardware="cpu", starting={published.service(1): "loading"})

    async def listed() -> bool:
        rows = (await client.get("/v1/predictions")).json()["results"]
        return {row["id"]: row["starting"] for row in rows} == {through["id"]: "loading", beside["id"]: "queued"}

    await wait_until_async(listed)


async def has_ended(client: httpx.AsyncClient, id: str) -> bool:
    return (await client.get(f"/v1/predictions/{id}")).json()["status"] == "succeeded"


async def test_a_new_release_takes_traffic_once_it_is_warm(
    deployed: FakeRunner, client: httpx.AsyncClient, published: PublishedReleases
):
    changed = (await client.patch(AT, json={"version": OTHER})).json()
    assert (changed["current_release"]["number"], changed["current_release"]["version"]) == (2, OTHER)
    assert (changed["serving"]["number"], changed["upcoming"]["number"]) == (1, 2)
    await wait_until(lambda: published.numbers == {"2": (1, 2), "1": (0, 2)})
    # The version is warm, but not for this deployment.
    await deployed.send_heartbeat(hardware="cpu", warm=[OTHER], starting={published.service(2): "loading"})
    await wait_until_async(lambda: has_phase(client, "loading"))
    assert (await run(client))["version"] == ECHO.version

    await deployed.send_heartbeat(hardware="cpu", warm=[published.service(2)])
    await wait_until_async(lambda: is_serving(client, 2))
    assert (await run(client))["version"] == OTHER
    assert "upcoming" not in (await client.get(AT)).json()


async def has_phase(client: httpx.AsyncClient, phase: str) -> bool:
    return (await client.get(AT)).json()["upcoming"].get("starting") == phase


async def is_serving(client: httpx.AsyncClient, number: int) -> bool:
    return await serving_release(client) == number


async def test_a_release_is_published_until_its_queue_is_empty(
    deployed: FakeRunner, client: httpx.AsyncClient, published: PublishedReleases
):
    p = await run(client)
    await client.patch(AT, json={"version": OTHER})
    await wait_until(lambda: "2" in published.numbers)
    await deployed.send_heartbeat(hardware="cpu", warm=[published.service(2)])
    await wait_until_async(lambda: is_serving(client, 2))
    await wait_until(lambda: published.numbers == {"2": (0, 2), "1": (0, 2)})
    job = await deployed.next_job()
    assert job.id == p["id"]
    await wait_until(lambda: published.numbers == {"2": (0, 2)})


async def test_a_release_that_fails_set_up_shows_why_and_takes_no_traffic(
    deployed: FakeRunner, client: httpx.AsyncClient, published: PublishedReleases
):
    await client.patch(AT, json={"version": OTHER})
    await wait_until(lambda: "2" in published.numbers)
    await deployed.send_heartbeat(hardware="cpu", failed={published.service(2): "no such file: weights"})
    await wait_until_async(lambda: has_failed_with(client, "no such file: weights"))
    assert (await run(client))["version"] == ECHO.version


async def has_failed_with(client: httpx.AsyncClient, error: str) -> bool:
    return (await client.get(AT)).json()["upcoming"].get("error") == error


async def test_rolling_back_before_the_switch_needs_no_loading(
    deployed: FakeRunner, client: httpx.AsyncClient, published: PublishedReleases
):
    await client.patch(AT, json={"version": OTHER})
    back = (await client.post(f"{AT}/rollback")).json()
    assert (back["current_release"]["number"], back["current_release"]["version"]) == (3, ECHO.version)
    assert (back["serving"]["number"], "upcoming" in back) == (3, False)
    await wait_until(lambda: published.numbers == {"1": (0, 2)})


async def test_rolling_back_creates_a_release(deployed: FakeRunner, client: httpx.AsyncClient):
    await client.patch(AT, json={"max_instances": 5})
    await client.patch(AT, json={"max_instances": 7})
    back = (await client.post(f"{AT}/rollback", json={"number": 1})).json()["current_release"]
    assert (back["number"], back["configuration"]["max_instances"]) == (4, 2)


async def test_instance_limits_change_without_loading_again(
    deployed: FakeRunner, client: httpx.AsyncClient, published: PublishedReleases
):
    changed = (await client.patch(AT, json={"min_instances": 1, "max_instances": 3})).json()
    assert (changed["current_release"]["number"], changed["serving"]["number"]) == (2, 2)
    await wait_until(lambda: published.numbers == {"1": (1, 3)})


async def test_a_paused_deployment_takes_predictions_and_runs_none(
    deployed: FakeRunner, client: httpx.AsyncClient, published: PublishedReleases
):
    paused = (await client.patch(AT, json={"max_instances": 0})).json()
    assert paused["serving"]["number"] == 2
    await wait_until(lambda: published.numbers == {"1": (0, 0)})
    p = await run(client)
    assert (await client.get(f"/v1/predictions/{p['id']}")).json()["starting"] == "paused: max_instances is 0"


async def test_a_deployment_in_use_is_not_deleted(
    deployed: FakeRunner, client: httpx.AsyncClient, published: PublishedReleases
):
    p = await run(client)
    assert (await client.delete(AT)).status_code == 422
    await client.post(f"/v1/predictions/{p['id']}/cancel")
    await wait_until_async(lambda: is_canceled(client, p["id"]))
    await wait_until_async(lambda: is_deleted(client))
    assert (await client.get(AT)).status_code == 404
    assert (await client.post(f"{AT}/predictions", json={"input": {"text": "hi"}})).status_code == 404


async def is_canceled(client: httpx.AsyncClient, id: str) -> bool:
    return (await client.get(f"/v1/predictions/{id}")).json()["status"] == "canceled"


async def is_deleted(client: httpx.AsyncClient) -> bool:
    return (await client.delete(AT)).status_code == 204


async def test_jobs_of_a_deployment_that_is_gone_are_run_by_whoever_can(
    deployed: FakeRunner, client: httpx.AsyncClient, published: PublishedReleases, db: asyncpg.Connection
):
    await run(client)
    await db.execute("DELETE FROM deployments")
    await wait_until(lambda: published.last and [each.hardware for each in published.last.releases] == [""])
    await deployed.next_job()
    await wait_until(lambda: published.last and published.last.releases == [])


async def test_a_new_runner_gets_the_releases_at_once(deployed: FakeRunner, published: PublishedReleases):
    times = published.times
    await deployed.announce()
    await wait_until(lambda: published.times > times)


async def test_two_gateways_publish_the_same_and_either_may_promote(
    deployed: FakeRunner,
    client: httpx.AsyncClient,
    start: Callable[..., Any],
    published: PublishedReleases,
    settings: Settings,
):
    async with httpx.AsyncClient(base_url=await start(), headers=client.headers, trust_env=False) as other:
        await other.patch(AT, json={"version": OTHER})
        await wait_until(lambda: "2" in published.numbers)
        await deployed.send_heartbeat(hardware="cpu", warm=[published.service(2)])
        await wait_until_async(lambda: is_serving(other, 2))
        await wait_until_async(lambda: is_serving(client, 2))

        async def runs_the_new_one() -> bool:
            return (await run(client))["version"] == OTHER

        await wait_until_async(runs_the_new_one)


async def test_hardware_of_runners_and_of_the_settings_is_listed(
    ready: FakeRunner, client: httpx.AsyncClient, start: Callable[..., Any], settings: Settings
):
    assert {"sku": "cpu", "name": "CPU"} in (await client.get("/v1/hardware")).json()
    more = structs.replace(settings, hardware_kinds="gpu-t4=Nvidia T4 GPU, gpu-x")
    async with httpx.AsyncClient(base_url=await start(more), headers=client.headers, trust_env=False) as other:
        kinds = (await other.get("/v1/hardware")).json()
        assert {"sku": "gpu-t4", "name": "Nvidia T4 GPU"} in kinds
        assert {"sku": "gpu-x", "name": "gpu-x"} in kinds
        made = (await other.post("/v1/deployments", json={**BODY, "hardware": "gpu-t4"})).json()
        assert made["serving"]["starting"] == "waiting for a runner with gpu-t4"
    assert (await client.get("/v1/hardware", headers={"Authorization": "Bearer no"})).status_code == 401


async def test_hardware_is_named_after_a_runners_gpus(
    ready: FakeRunner, client: httpx.AsyncClient, start: Callable[..., Any]
):
    gpus = [Device(name=f"cuda:{number}", kind="NVIDIA L40S", memory=1) for number in range(2)]
    await ready.send_heartbeat(agent="big", hardware="gpu-l40s-2x", devices=gpus)

    async def listed() -> bool:
        return {"sku": "gpu-l40s-2x", "name": "NVIDIA L40S (2x)"} in (await client.get("/v1/hardware")).json()

    await wait_until_async(listed)
