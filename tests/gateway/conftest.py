"""A gateway on real servers, and a fake runner that a test controls."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec import Raw, json, structs
from nacl.public import PrivateKey
from nats.aio.client import Client
from nats.js import JetStreamContext

from gateway import main
from gateway.settings import Settings
from schemas import events, subjects
from schemas.events import Event, Final, Output, Run, Started, Succeeded
from schemas.jobs import Job, decode_job
from schemas.models import BuildResult, Heartbeat, Registration, VersionInfo
from tests.gateway import openapi_check

TOKEN = "test-token"
FILES_TOKEN = "a-token-for-runners"
PRIVATE_KEY = PrivateKey.generate()

STREAMING = {"type": "array", "items": {"type": "string"}, "x-cog-array-type": "iterator", "title": "Output"}
INPUT = {
    "type": "object",
    "title": "Input",
    "required": ["text"],
    "properties": {
        "text": {"type": "string", "x-order": 0},
        "times": {"type": "integer", "minimum": 1, "maximum": 4, "x-order": 1},
        "size": {"allOf": [{"$ref": "#/components/schemas/size"}], "x-order": 2},
        "seed": {"type": "integer", "nullable": True, "x-order": 3},
        "image": {"type": "string", "format": "uri", "x-order": 4},
    },
}


KEEPER_INPUT = {
    "type": "object",
    "title": "Input",
    "properties": {
        "key": {"type": "string", "format": "password", "writeOnly": True, "x-cog-secret": True},
        "keys": {"type": "array", "items": {"type": "string", "format": "password", "x-cog-secret": True}},
        "images": {"type": "array", "items": {"type": "string", "format": "uri"}},
        "text": {"type": "string"},
    },
}


def version_info(name: str, output: dict[str, Any], letter: str, input: dict[str, Any] = INPUT) -> VersionInfo:
    size = {"type": "string", "enum": ["s", "m"], "title": "size", "description": "An enumeration."}
    schemas = {"Input": input, "Output": output, "size": size}
    document = {"openapi": "3.0.2", "info": {"title": "Cog", "version": "0.1.0"}, "components": {"schemas": schemas}}
    return VersionInfo(
        owner="acme",
        name=name,
        version=letter * 64,
        openapi_schema=Raw(json.encode(document)),
        cog_version="0.23.1",
        description=f"A {name}",
        readme="# Readme",
    )


ECHO = version_info("echo", {"type": "string", "title": "Output"}, "a")
LINES = version_info("lines", STREAMING, "b")
KEEPER = version_info("keeper", {"type": "string", "title": "Output"}, "c", KEEPER_INPUT)
"""Takes secrets and files."""
VERSION_INFOS = [ECHO, LINES, KEEPER]


class FakeRunner:
    """A runner that takes jobs and publishes events when the test says so."""

    def __init__(self, client: Client, js: JetStreamContext) -> None:
        self._client = client
        self._js = js
        self._ordinal = 0

    async def announce(self) -> None:
        await self._client.publish(
            subjects.REGISTRATIONS, json.encode(Registration(agent="fake", offers=VERSION_INFOS))
        )
        await self.send_heartbeat()

    async def send_heartbeat(self, **fields: Any) -> None:
        """Publish a heartbeat, with the given fields instead of its own."""
        versions = [each.version for each in VERSION_INFOS]
        idle = Heartbeat(agent="fake", host="here", pool="default", versions=versions, warm=[])
        await self._client.publish(subjects.HEARTBEATS, json.encode(structs.replace(idle, **fields)))

    async def next_job(self, *, settle: bool = True) -> Job:
        """Return the next job of any model."""
        consumer = await self._js.pull_subscribe("jobs.>", durable="all", stream=subjects.JOBS)
        [message] = await consumer.fetch(1, timeout=5)
        if settle:
            await message.ack_sync()
        return decode_job(message.data)

    def next_run(self, attempt: int = 1) -> Run:
        self._ordinal += 1
        return Run(attempt, 1_767_603_600_000 + self._ordinal, "fake")

    async def publish(self, event: Event) -> None:
        headers = {"Nats-Expected-Last-Subject-Sequence": "0"} if isinstance(event, Final) else None
        subject = subjects.event(event.id, events.kind(event))
        await self._js.publish(subject, events.encode(event), headers=headers)

    async def publish_echo(self, job: Job) -> None:
        value = Raw(json.encode("echo " + json.decode(bytes(job.input or b""))["text"]))
        await self.publish(
            Succeeded(id=job.id, run=self.next_run(job.attempt), at=now(), started_at=now(), values=[value])
        )

    async def publish_built(self, job: Job, log: str = "== setup\nready\n", **built: Any) -> None:
        """Publish the end of a push that succeeded."""
        name = job.model.partition("/")[2]
        made = structs.replace(ECHO, owner=job.model.partition("/")[0], name=name, version=job.version)
        answer = BuildResult(offer=made, setup_seconds=0.5, setup_log="ready\n")
        value = Raw(json.encode(structs.replace(answer, **built)))
        await self.publish(
            Succeeded(id=job.id, run=self.next_run(job.attempt), at=now(), started_at=now(), values=[value], log=log)
        )

    async def publish_lines(self, job: Job, texts: list[str], run: Run | None = None) -> Run:
        """Publish the start and one output per text, but no end."""
        run = run or self.next_run(job.attempt)
        await self.publish(Started(id=job.id, run=run, at=now()))
        for index, text in enumerate(texts):
            await self.publish(Output(id=job.id, run=run, index=index, values=[Raw(json.encode(text))]))
        return run

    async def succeed(self, job: Job, run: Run, outputs: int) -> None:
        await self.publish(Succeeded(id=job.id, run=run, at=now(), started_at=now(), outputs=outputs, many=True))


def now() -> datetime:
    return datetime.now(UTC)


RESPONSE_HOOKS = {"response": [openapi_check.check]}


@pytest.fixture
def settings(database_url: str, nats_url: str, tmp_path: Path) -> Settings:
    return Settings(
        database_url=database_url,
        nats_url=nats_url,
        port=0,
        token=TOKEN,
        files_url=f"file://{tmp_path}/files",
        keep_alive=0.2,
        page_size=3,
        max_body=200_000,
        max_push=2_000_000,
        max_upload=300_000,
        secrets_public_key=bytes(PRIVATE_KEY.public_key).hex(),
        files_token=FILES_TOKEN,
    )


@pytest.fixture
async def start(settings: Settings, js: JetStreamContext) -> AsyncGenerator[Callable[..., Any]]:
    """A function that starts a gateway on a free port and returns its base URL."""
    servers: list[tuple[main.Server, asyncio.Task[None]]] = []

    async def start_gateway(other: Settings = settings) -> str:
        server = main.create_server(other)
        task = asyncio.create_task(server._serve())
        while not server.started:
            if task.done():
                task.result()
                raise RuntimeError("the gateway did not start")
            await asyncio.sleep(0.01)
        servers.append((server, task))
        port = server.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}"

    async def stop() -> None:
        for server, task in servers:
            server.stop()
            await task
        servers.clear()

    start_gateway.stop = stop  # type: ignore[attr-defined]
    yield start_gateway
    await stop()


@pytest.fixture
async def url(start: Callable[..., Any]) -> str:
    return await start()


@pytest.fixture
async def client(url: str) -> AsyncGenerator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        base_url=url,
        headers={"Authorization": f"Bearer {TOKEN}"},
        timeout=10,
        trust_env=False,
        event_hooks=RESPONSE_HOOKS,
    ) as client:
        yield client


@pytest.fixture
async def runner(nc: Client, js: JetStreamContext, client: httpx.AsyncClient) -> FakeRunner:
    """A fake runner that the gateway knows."""
    runner = FakeRunner(nc, js)
    for _ in range(100):
        await runner.announce()
        if (await client.get("/v1/models/acme/keeper")).status_code == 200:
            return runner
        await asyncio.sleep(0.02)
    raise RuntimeError("the gateway did not take the registration")


async def frames(response: httpx.Response) -> AsyncGenerator[tuple[str, str, str]]:
    """Yield the (event, id, data) of each server-sent event."""
    fields: dict[str, list[str]] = {}
    async for line in response.aiter_lines():
        if line.startswith(":"):
            continue
        if line:
            name, _, value = line.partition(": ")
            fields.setdefault(name, []).append(value)
        elif fields:
            yield fields["event"][0], fields["id"][0], "\n".join(fields.get("data", []))
            fields = {}
