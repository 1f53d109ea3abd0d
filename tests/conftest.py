"""A real NATS server and a real PostgreSQL for all tests of a run: streams and databases are made anew for each."""

import os
import shutil
import signal
import tempfile
from collections.abc import AsyncGenerator, Generator
from itertools import count
from pathlib import Path

import asyncpg
import pytest
from msgspec import json
from nats.js import JetStreamContext

from bus.client import Client
from deploy.local.nats import User, running_nats
from deploy.local.postgres import running_postgres
from deploy.migrate import migrate
from schemas.subjects import streams

ANYONE = User(name="tester", publish=(">",), subscribe=(">",))
QUICK = {"fsync": "off", "shared_buffers": "32MB"}

_numbers = count(1)


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """What tests start heeds Ctrl-C, also where a shell put them into the background, which makes them deaf to it."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def home() -> Generator[Path]:
    """A folder for the servers that other users may pass through, as PostgreSQL never runs as root."""
    path = Path(tempfile.mkdtemp(prefix="samovar-tests-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
async def nats_url(home: Path) -> AsyncGenerator[str]:
    """Of a user who may do everything, as tests speak for both sides."""
    async with running_nats(home / "nats", users=[ANYONE]) as server:
        yield server.urls[ANYONE.name]


@pytest.fixture
async def nc(nats_url: str) -> AsyncGenerator[Client]:
    client = Client()
    await client.connect(nats_url, max_reconnect_attempts=-1, reconnect_time_wait=0.1)  # pyright: ignore[reportArgumentType]  it is slept
    yield client
    await client.close()


@pytest.fixture
async def js(nc: Client) -> JetStreamContext:
    """With both streams made anew: empty, and without consumers."""
    wanted = streams(replicas=1, queue_cap=100_000, events_age=900, events_bytes=256_000_000)
    for name, configuration in wanted.items():
        await nc.request(f"$JS.API.STREAM.DELETE.{name}")
        answer = await nc.request(f"$JS.API.STREAM.CREATE.{name}", json.encode(configuration))
        made = json.decode(answer.data)
        assert "error" not in made, made["error"]
    return nc.jetstream()


@pytest.fixture(scope="session")
async def postgres(home: Path) -> AsyncGenerator[str]:
    """The URL of the server's own database, for those who make others."""
    async with running_postgres(home / "postgres", QUICK) as server:
        await migrate(server.url)
        yield server.admin_url


@pytest.fixture
async def database_url(postgres: str) -> AsyncGenerator[str]:
    """A database of the test's own, with all tables and no rows."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    admin = await asyncpg.connect(postgres)
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE samovar")
    try:
        yield postgres.replace("/postgres?", f"/{name}?")
    finally:
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await admin.close()
