"""A whole agent on a real NATS server, and the part of a gateway that it needs: jobs in, events out."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import nats
import psutil
import pytest
from msgspec import Raw, json, structs
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from runners.main import serve
from runners.settings import Settings
from schemas import events, subjects
from schemas.events import Event, Final
from schemas.jobs import Cancel, Job
from schemas.models import VersionInfo, decode_registration

MODELS = Path(__file__).parents[1] / "models"
_numbers = count(1)


class FakeGateway:
    """The part of a gateway that agents talk to: it submits jobs and records events and registrations."""

    def __init__(self, nc: Client) -> None:
        self.nc = nc
        self.versions: dict[str, VersionInfo] = {}
        self.events_by_id: dict[str, list[Event]] = {}
        self._changed = asyncio.Event()

    async def listen(self) -> None:
        await self.nc.subscribe("live.>", cb=self._on_event)
        await self.nc.subscribe(subjects.REGISTRATIONS, cb=self._on_registration)

    async def submit(self, model: str, *, wake: bool = True, **input: Any) -> str:
        job = self.job(model, **input)
        await self.put(job)
        if wake:
            await self.wake(job)
        return job.id

    async def wake(self, job: Job) -> None:
        await self.nc.publish(subjects.wake("default", job.version))

    def job(self, model: str, **input: Any) -> Job:
        id = f"t{next(_numbers):025d}"
        version = self.versions[model].version
        name = f"samovar/{model}"
        return Job(id=id, model=name, version=version, input=Raw(json.encode(input)), created_at=datetime.now(UTC))

    async def put(self, job: Job) -> int:
        """Publish a job and return its sequence number."""
        headers = {"Nats-Msg-Id": f"{job.id}:{job.attempt}"}
        subject = subjects.job("default", job.model, job.version)
        return (await self.nc.jetstream().publish(subject, json.encode(job), headers=headers)).seq

    async def cancel(self, id: str, reason: str | None = None) -> None:
        await self.nc.publish(subjects.CANCELS, json.encode(Cancel(id=id, reason=reason)))

    async def final(self, id: str, within: float = 20) -> Final:
        await self.wait_until(lambda: self.finals(id), within)
        return self.finals(id)[0]

    def finals(self, id: str) -> list[Final]:
        return [event for event in self.events_by_id.get(id, []) if isinstance(event, Final)]

    def events(self, id: str, kind: type) -> list[Any]:
        return [event for event in self.events_by_id.get(id, []) if isinstance(event, kind)]

    async def wait_until(self, condition: Callable[[], object], within: float = 20) -> None:
        """Wait until an event or a registration makes the condition true."""
        async with asyncio.timeout(within):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def queued(self) -> int:
        """Return the number of jobs in the stream, queued or in hand."""
        return (await self.nc.jetstream().stream_info(subjects.JOBS)).state.messages

    async def _on_event(self, msg: Msg) -> None:
        event = events.decode(msg.data)
        self.events_by_id.setdefault(event.id, []).append(event)
        self._changed.set()

    async def _on_registration(self, msg: Msg) -> None:
        self.versions |= {offer.name: offer for offer in decode_registration(msg.data).offers}
        self._changed.set()


def text_of(final: Final) -> str:
    return "".join(json.decode(value, type=str) for value in final.values)


async def eventually(condition: Callable[[], Awaitable[object] | object], within: float = 20) -> None:
    """Poll until a condition is true that no message announces."""
    async with asyncio.timeout(within):
        while True:
            result = condition()
            if isinstance(result, Awaitable):
                result = await result
            if result:
                return
            await asyncio.sleep(0.01)


def worker_processes() -> list[psutil.Process]:
    """Return the worker processes of agents in this process."""
    return [child for child in psutil.Process().children() if "host.py" in " ".join(_cmdline(child))]


def _cmdline(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    home = tmp_path_factory.mktemp("agent")
    return Settings(
        models=(str(MODELS), str(MODELS.parents[1] / "runners" / "models" / "hello-world")),
        bundled=False,
        cache_dir=str(home / "cache"),
        files_url=f"file://{home / 'files'}",
        agent="tester",
        cancel_grace=0.5,
        heartbeat=0.5,
    )


@asynccontextmanager
async def running_agent(settings: Settings, **changed: Any) -> AsyncGenerator[asyncio.Task[None]]:
    stop = asyncio.Event()
    task = asyncio.create_task(serve(structs.replace(settings, **changed), stop))
    try:
        yield task
    finally:
        stop.set()
        await task


@asynccontextmanager
async def connected_gateway(url: str) -> AsyncGenerator[FakeGateway]:
    client = await nats.connect(url, max_reconnect_attempts=-1, reconnect_time_wait=0.1)
    gateway = FakeGateway(client)
    await gateway.listen()
    yield gateway
    await client.close()


@pytest.fixture
async def gateway(js: JetStreamContext, nats_url: str) -> AsyncGenerator[FakeGateway]:
    async with connected_gateway(nats_url) as gateway:
        yield gateway


@pytest.fixture
async def agent(gateway: FakeGateway, nats_url: str, settings: Settings) -> AsyncGenerator[FakeGateway]:
    """Return a fake gateway beside an agent that serves the tests' models."""
    async with running_agent(settings, nats_url=nats_url):
        await gateway.wait_until(lambda: "hello-world" in gateway.versions)
        yield gateway
