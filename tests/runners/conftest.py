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
from schemas.models import Offer, decode_offers

MODELS = Path(__file__).parents[1] / "models"
_numbers = count(1)


class Front:
    """Speaks to agents as a gateway does."""

    def __init__(self, nc: Client) -> None:
        self.nc = nc
        self.offers: dict[str, Offer] = {}
        self.said: dict[str, list[Event]] = {}
        self._changed = asyncio.Event()

    async def listen(self) -> None:
        await self.nc.subscribe("live.>", cb=self._heard)
        await self.nc.subscribe(subjects.OFFERS, cb=self._offered)

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
        version = self.offers[model].version
        name = f"samovar/{model}"
        return Job(id=id, model=name, version=version, input=Raw(json.encode(input)), created_at=datetime.now(UTC))

    async def put(self, job: Job) -> int:
        """Its place in the queue."""
        headers = {"Nats-Msg-Id": f"{job.id}:{job.attempt}"}
        subject = subjects.job("default", job.model, job.version)
        return (await self.nc.jetstream().publish(subject, json.encode(job), headers=headers)).seq

    async def cancel(self, id: str, reason: str | None = None) -> None:
        await self.nc.publish(subjects.CANCELS, json.encode(Cancel(id=id, reason=reason)))

    async def final(self, id: str, within: float = 20) -> Final:
        await self.until(lambda: self.finals(id), within)
        return self.finals(id)[0]

    def finals(self, id: str) -> list[Final]:
        return [event for event in self.said.get(id, []) if isinstance(event, Final)]

    def events(self, id: str, kind: type) -> list[Any]:
        return [event for event in self.said.get(id, []) if isinstance(event, kind)]

    async def until(self, true: Callable[[], object], within: float = 20) -> None:
        """Wait until something that was heard makes it true."""
        async with asyncio.timeout(within):
            while not true():
                self._changed.clear()
                await self._changed.wait()

    async def queued(self) -> int:
        """Jobs in the stream: waiting, or in somebody's hands."""
        return (await self.nc.jetstream().stream_info(subjects.JOBS)).state.messages

    async def _heard(self, msg: Msg) -> None:
        event = events.decode(msg.data)
        self.said.setdefault(event.id, []).append(event)
        self._changed.set()

    async def _offered(self, msg: Msg) -> None:
        self.offers |= {offer.name: offer for offer in decode_offers(msg.data).offers}
        self._changed.set()


def text_of(final: Final) -> str:
    return "".join(json.decode(value, type=str) for value in final.values)


async def eventually(true: Callable[[], Awaitable[object] | object], within: float = 20) -> None:
    """For conditions that nobody tells of."""
    async with asyncio.timeout(within):
        while True:
            found = true()
            if isinstance(found, Awaitable):
                found = await found
            if found:
                return
            await asyncio.sleep(0.01)


def workers() -> list[psutil.Process]:
    """Worker processes of agents in this process."""
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
async def running(settings: Settings, **changed: Any) -> AsyncGenerator[asyncio.Task[None]]:
    stop = asyncio.Event()
    task = asyncio.create_task(serve(structs.replace(settings, **changed), stop))
    try:
        yield task
    finally:
        stop.set()
        await task


@asynccontextmanager
async def fronting(url: str) -> AsyncGenerator[Front]:
    client = await nats.connect(url, max_reconnect_attempts=-1, reconnect_time_wait=0.1)
    front = Front(client)
    await front.listen()
    yield front
    await client.close()


@pytest.fixture
async def front(js: JetStreamContext, nats_url: str) -> AsyncGenerator[Front]:
    async with fronting(nats_url) as front:
        yield front


@pytest.fixture
async def agent(front: Front, nats_url: str, settings: Settings) -> AsyncGenerator[Front]:
    """With an agent that offers the tests' models."""
    async with running(settings, nats_url=nats_url):
        await front.until(lambda: "hello-world" in front.offers)
        yield front
