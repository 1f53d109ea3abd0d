"""What a gateway says of the runners that it hears, and of what waits for them."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import httpx
import nats
from msgspec import json, structs
from nats.js import JetStreamContext

from bus.client import Client
from deploy.local.nats import run_nats
from gateway.broker import Broker
from gateway.settings import Settings
from schemas import subjects
from schemas.models import Device, InstanceStatus
from tests.conftest import ANY_USER
from tests.gateway.conftest import ECHO, LINES, TOKEN, FakeRunner, frames
from tests.gateway.test_predictions import create

AT = datetime(2026, 1, 5, 9, 0, 0, 125_000, UTC)
HOT = InstanceStatus(
    version=LINES.version,
    model="acme/lines",
    number=1,
    state="hot",
    devices=["cuda:0"],
    memory=450_000_000,
    planned=600_000_000,
    running=3,
    queued=12,
    since=AT,
    used_at=AT,
)
LOADING = InstanceStatus(version=ECHO.version, model="acme/echo", number=0, state="starting", phase="loading", since=AT)
BUSY: dict[str, Any] = {
    "warm": [LINES.version],
    "starting": {ECHO.version: "loading"},
    "memory": 8_000_000_000,
    "used": 450_000_000,
    "devices": [Device(name="cuda:0", kind="H100", memory=80_000_000_000, planned=600_000_000)],
    "residents": [HOT, LOADING],
    "counts": {"loads": 2, "evictions": 1},
}


LINE = "samovar_runners 1.0"


async def wait_for_overview(client: httpx.AsyncClient, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The answer, once this holds of it."""
    async with asyncio.timeout(10):
        while True:
            answer = await client.get("/v1/runners")
            assert answer.status_code == 200, answer.text
            if holds(found := answer.json()):
                return found


async def test_runners_are_listed_with_devices_and_instances(client: httpx.AsyncClient, runner: FakeRunner):
    await runner.send_heartbeat(**BUSY)
    found = await wait_for_overview(client, lambda found: bool(found["runners"] and found["runners"][0]["instances"]))
    assert found == {
        "runners": [
            {
                "agent": "fake",
                "host": "here",
                "pool": "default",
                "memory": {"limit": 8_000_000_000, "used": 450_000_000},
                "devices": [
                    {"name": "cuda:0", "kind": "H100", "memory": 80_000_000_000, "planned": 600_000_000, "cores": 0}
                ],
                "instances": [
                    {
                        "model": "acme/echo",
                        "version": ECHO.version,
                        "number": 0,
                        "state": "starting",
                        "phase": "loading",
                        "devices": [],
                        "memory": 0,
                        "running": 0,
                        "since": "2026-01-05T09:00:00.125000Z",
                        "used_at": None,
                    },
                    {
                        "model": "acme/lines",
                        "version": LINES.version,
                        "number": 1,
                        "state": "hot",
                        "phase": None,
                        "devices": ["cuda:0"],
                        "memory": 450_000_000,
                        "running": 3,
                        "since": "2026-01-05T09:00:00.125000Z",
                        "used_at": "2026-01-05T09:00:00.125000Z",
                    },
                ],
                "counts": {"loads": 2, "evictions": 1},
            }
        ],
        "queues": [],
        "pushes": 0,
    }


async def test_private_models_are_listed_only_for_those_who_may_see_them(
    client: httpx.AsyncClient, runner: FakeRunner, url: str
) -> None:
    await client.post("/v1/models/acme/echo/predictions", json={"input": {"text": "hi"}})
    await client.patch("/v1/models/acme/echo", json={"visibility": "private"})
    assert (await client.post("/v1/accounts", json={"username": "eve"})).status_code == 201
    made = await client.post("/v1/tokens", json={"account": "eve", "scopes": ["predict"]})
    await runner.send_heartbeat(**BUSY)
    headers = {"Authorization": f"Bearer {made.json()['token']}"}
    async with httpx.AsyncClient(base_url=url, headers=headers) as eve:
        seen = await wait_for_overview(eve, lambda found: bool(found["runners"] and found["runners"][0]["instances"]))
        all_of_it = await wait_for_overview(client, lambda found: len(found["queues"]) == 1)
    assert [each["model"] for each in seen["runners"][0]["instances"]] == ["acme/lines"]
    assert seen["queues"] == []
    assert [each["model"] for each in all_of_it["runners"][0]["instances"]] == ["acme/echo", "acme/lines"]


async def test_a_runner_of_an_older_version_is_listed_as_empty(
    client: httpx.AsyncClient, runner: FakeRunner, nc: Client
):
    said = {"agent": "old", "host": "attic", "pool": "default", "versions": [], "warm": [LINES.version]}
    await nc.publish(subjects.HEARTBEATS, json.encode(said))
    found = await wait_for_overview(client, lambda found: len(found["runners"]) == 2)
    old = found["runners"][0]
    assert (old["host"], old["instances"], old["devices"], old["counts"]) == ("attic", [], [], {})
    assert old["memory"] == {"limit": 0, "used": 0}


async def test_waiting_jobs_are_counted_by_version(client: httpx.AsyncClient, runner: FakeRunner):
    await runner.send_heartbeat(**BUSY)
    for model in ("lines", "keeper", "lines", "lines", "lines", "echo"):
        input = {"text": "hi"}
        answer = await client.post(f"/v1/models/acme/{model}/predictions", json={"input": input})
        assert answer.status_code == 201
    await runner.next_job(settle=False)
    found = await wait_for_overview(client, lambda found: any(queue["running"] for queue in found["queues"]))
    told = [(q["model"], q["pool"], q["jobs"], q["running"], q["warm"], q["starting"]) for q in found["queues"]]
    assert told == [
        ("acme/echo", "default", 1, 0, False, "loading"),
        ("acme/keeper", "default", 1, 0, False, None),
        ("acme/lines", "default", 4, 3, True, None),
    ]
    assert found["queues"][2]["version"] == LINES.version


async def test_waiting_pushes_are_counted_apart(client: httpx.AsyncClient, runner: FakeRunner, js: JetStreamContext):
    await js.publish(subjects.builds("default"), b"{}")
    found = await wait_for_overview(client, lambda found: found["pushes"] == 1)
    assert found["queues"] == []


async def test_without_a_stream_nothing_waits(client: httpx.AsyncClient, runner: FakeRunner, nc: Client):
    await nc.request(f"$JS.API.STREAM.DELETE.{subjects.JOBS}")
    assert (await wait_for_overview(client, lambda _: True))["queues"] == []


async def test_listing_runners_needs_a_token(client: httpx.AsyncClient):
    for path in ("/v1/runners", "/runners", "/v1/runners/events"):
        assert (await client.get(path, headers={"Authorization": ""})).status_code == 401
    document = (await client.get("/openapi.json")).json()
    assert document["paths"]["/v1/runners"]["get"]["operationId"] == "runners.list"


async def next_view(events: AsyncGenerator[tuple[str, str, str]]) -> tuple[str, dict[str, Any]]:
    async with asyncio.timeout(15):
        event, id, data = await anext(events)
    assert event == "runners"
    return id, json.decode(data)


async def test_the_stream_sends_the_runners_again_when_they_change(client: httpx.AsyncClient, runner: FakeRunner):
    async with client.stream("GET", "/v1/runners/events") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        events = frames(response)
        _, first = await next_view(events)
        assert first["runners"][0]["instances"] == []
        await runner.send_heartbeat()
        await runner.send_heartbeat(**BUSY)
        _, second = await next_view(events)
        assert len(second["runners"][0]["instances"]) == 2
        await create(client, "keeper")
        await runner.send_heartbeat(**BUSY)  # nothing new of itself: it is the queue that has grown
        id, third = await next_view(events)
        assert [queue["model"] for queue in third["queues"]] == ["acme/keeper"]
    async with client.stream("GET", "/v1/runners/events", headers={"Last-Event-ID": id}) as response:
        await runner.send_heartbeat()
        _, fourth = await next_view(frames(response))
        assert fourth["runners"][0]["instances"] == []


async def test_the_stream_ends_with_the_gateway(
    client: httpx.AsyncClient, runner: FakeRunner, start: Callable[..., Any]
):
    async with client.stream("GET", "/v1/runners/events") as response:
        events = frames(response)
        await next_view(events)
        await start.stop()  # type: ignore[attr-defined]
        assert [event async for event in events] == []


async def wait_for_metrics(client: httpx.AsyncClient, holds: Callable[[list[str]], bool]) -> list[str]:
    """Lines of the metrics, once this holds of them."""
    async with asyncio.timeout(10):
        while not holds(lines := (await client.get("/metrics")).text.splitlines()):
            pass  # each look is a request
    return lines


async def test_runners_have_metrics(client: httpx.AsyncClient, runner: FakeRunner):
    await runner.send_heartbeat(**BUSY)
    for model in ("keeper", "lines"):
        await create(client, model)
    lines = await wait_for_metrics(client, lambda lines: any(line.startswith("samovar_instances{") for line in lines))
    assert {
        "samovar_runners 1.0",
        'samovar_instances{agent="fake",model="acme/echo",state="starting"} 1.0',
        'samovar_instances{agent="fake",model="acme/lines",state="hot"} 1.0',
        'samovar_jobs_running{agent="fake",model="acme/lines"} 3.0',
        'samovar_runner_memory_bytes{agent="fake",kind="limit"} 8e+09',
        'samovar_runner_memory_bytes{agent="fake",kind="used"} 4.5e+08',
        'samovar_device_memory_bytes{agent="fake",device="cuda:0",kind="planned"} 6e+08',
        'samovar_runner_changes_total{agent="fake",kind="loads"} 2.0',
        'samovar_queue_depth{model="acme/echo"} 0.0',
        'samovar_queue_depth{model="acme/keeper"} 1.0',
        'samovar_queue_depth{model="acme/lines"} 1.0',
        "samovar_pushes_pending 0.0",
    } <= set(lines)
    names = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(set(names)) == len(names)


async def test_metrics_of_a_runner_end_with_it(client: httpx.AsyncClient, runner: FakeRunner):
    await runner.send_heartbeat(agent="brief", residents=[HOT])
    await wait_for_metrics(client, lambda lines: any('agent="brief",model' in line for line in lines))
    await runner.send_heartbeat(agent="brief")
    await wait_for_metrics(client, lambda lines: not any('agent="brief",model' in line for line in lines))


async def test_without_a_broker_only_the_queues_are_unknown(home: Path, settings: Settings, start: Callable[..., Any]):
    async with run_nats(home / "leaving-nats", users=[ANY_USER]) as server:
        url = await start(structs.replace(settings, nats_url=server.urls[ANY_USER.name]))
        runner = FakeRunner(client := await nats.connect(server.urls[ANY_USER.name]), client.jetstream())
        async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=10) as asking:
            await runner.send_heartbeat(**BUSY)
            assert any(
                "samovar_queue_depth" in line for line in await wait_for_metrics(asking, lambda lines: LINE in lines)
            )
        await client.close()
    async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=10) as asking:
        lines = (await asking.get("/metrics")).text.splitlines()
        assert not any("samovar_queue_depth" in line for line in lines)
        assert any(line.startswith("samovar_runners ") for line in lines)
        answer = await asking.get("/v1/runners")
        assert (answer.status_code, answer.json()["detail"]) == (503, "The broker does not say what waits. Try again.")


class PagedBroker:
    """A broker that lists two subjects at once."""

    def __init__(self, depths: dict[str, int]) -> None:
        self._depths = depths
        self.data = b""
        self.status = None

    async def ask(self, _: str, question: bytes, *__: Any, **___: Any) -> "PagedBroker":
        offset = json.decode(question)["offset"]
        shown = dict(sorted(self._depths.items())[offset : offset + 2])
        self.data = json.encode({"total": len(self._depths), "offset": offset, "state": {"subjects": shown}})
        return self


async def test_subjects_are_listed_page_by_page():
    depths = {f"jobs.default.m.{version}.0": version for version in range(1, 6)}
    assert await Broker(cast("Client", PagedBroker(depths)), {}).queue_depths() == depths
