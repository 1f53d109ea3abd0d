"""A real NATS server and a real PostgreSQL for all tests of a run, with new streams and databases for each test."""

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
from deploy.local.nats import NatsUser, run_nats
from deploy.local.postgres import run_postgres
from deploy.migrate import migrate
from schemas.subjects import stream_configs

ANY_USER = NatsUser(name="tester", publish=(">",), subscribe=(">",))
QUICK_SETTINGS = {"fsync": "off", "shared_buffers": "32MB"}

_numbers = count(1)


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Make child processes heed Ctrl-C, even where a shell started the tests in the background, which ignores it."""
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
    """The URL of a user who may do everything, as tests act for both sides."""
    async with run_nats(home / "nats", users=[ANY_USER]) as server:
        yield server.urls[ANY_USER.name]


@pytest.fixture
async def nc(nats_url: str) -> AsyncGenerator[Client]:
    client = Client()
    await client.connect(nats_url, max_reconnect_attempts=-1, reconnect_time_wait=0.1)  # pyright: ignore[reportArgumentType]  it is slept
    yield client
    await client.close()


@pytest.fixture
async def js(nc: Client) -> JetStreamContext:
    """JetStream with both streams new: empty, and without consumers."""
    configurations = stream_configs(replicas=1, queue_cap=100_000, events_age=900, events_bytes=256_000_000)
    for name, configuration in configurations.items():
        await nc.request(f"$JS.API.STREAM.DELETE.{name}")
        answer = await nc.request(f"$JS.API.STREAM.CREATE.{name}", json.encode(configuration))
        response = json.decode(answer.data)
        assert "error" not in response, response["error"]
    return nc.jetstream()


@pytest.fixture(scope="session")
async def postgres(home: Path) -> AsyncGenerator[str]:
    """The URL of the server's own database, from which others can be created."""
    async with run_postgres(home / "postgres", QUICK_SETTINGS) as server:
        await migrate(server.url)
        yield server.admin_url


@pytest.fixture
async def database_url(postgres: str) -> AsyncGenerator[str]:
    """A database for one test, with all tables and no rows."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    admin = await asyncpg.connect(postgres)
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE samovar")
    try:
        yield postgres.replace("/postgres?", f"/{name}?")
    finally:
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await admin.close()
