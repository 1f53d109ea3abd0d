"""Leases on instances, on a real broker."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from nats.js import JetStreamContext

from runners.broker.connection import Connection, connected
from runners.broker.leases import Leases
from schemas import subjects
from tests.runners.conftest import eventually

V = "a" * 64


@pytest.fixture
async def connection(js: JetStreamContext, nats_url: str) -> AsyncGenerator[Connection]:
    await js._nc.request(f"$JS.API.STREAM.DELETE.{subjects.LEASE_BUCKET}")
    async with connected(nats_url, "leases") as connection:
        yield connection


@asynccontextmanager
async def renewing(leases: Leases) -> AsyncGenerator[None]:
    task = asyncio.create_task(leases.keep_renewing())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_one_agent_has_the_lease_on_an_instance(connection: Connection) -> None:
    ours, theirs = Leases(connection, "ours"), Leases(connection, "theirs")
    lease = await ours.acquire(V, range(1))
    assert lease is not None
    assert await theirs.acquire(V, range(1)) is None
    assert await theirs.leased_services() == {V}


async def test_one_of_many_concurrent_agents_gets_the_lease(connection: Connection) -> None:
    agents = [Leases(connection, f"agent-{number}") for number in range(20)]
    leases = await asyncio.gather(*(agent.acquire(V, range(1)) for agent in agents))
    assert sum(lease is not None for lease in leases) == 1


async def test_the_next_agent_gets_the_next_number(connection: Connection) -> None:
    ours, theirs = Leases(connection, "ours"), Leases(connection, "theirs")
    first, second = await ours.acquire(V, range(3)), await theirs.acquire(V, range(3))
    assert first is not None
    assert second is not None
    assert (first.number, second.number) == (0, 1)


async def test_a_released_lease_can_be_acquired(connection: Connection) -> None:
    ours, theirs = Leases(connection, "ours"), Leases(connection, "theirs")
    lease = await ours.acquire(V, range(1))
    assert lease is not None
    await ours.release(lease)
    assert await theirs.acquire(V, range(1)) is not None


async def test_a_lease_does_not_expire_while_it_is_renewed(connection: Connection) -> None:
    ours, theirs = Leases(connection, "ours", ttl=0.5, renew=0.1), Leases(connection, "theirs")
    lease = await ours.acquire(V, range(1))
    assert lease is not None
    first = lease.sequence
    async with renewing(ours):
        await eventually(lambda: lease.sequence > first + 8)
        assert await theirs.acquire(V, range(1)) is None
    await eventually(lambda: theirs.acquire(V, range(1)))


async def test_a_lost_bucket_is_created_again_with_the_lease(connection: Connection, js: JetStreamContext) -> None:
    ours, theirs = Leases(connection, "ours", renew=0.1), Leases(connection, "theirs")
    assert await ours.acquire(V, range(1)) is not None
    await js.delete_stream(subjects.LEASE_BUCKET)
    async with renewing(ours):
        await eventually(theirs.leased_services)
        assert await theirs.acquire(V, range(1)) is None


async def test_a_lease_that_expired_and_went_to_another_agent_is_lost(
    connection: Connection, js: JetStreamContext
) -> None:
    ours, theirs = Leases(connection, "ours", renew=0.1), Leases(connection, "theirs")
    lease = await ours.acquire(V, range(1))
    assert lease is not None
    await js.purge_stream(subjects.LEASE_BUCKET)
    assert await theirs.acquire(V, range(1)) is not None
    async with renewing(ours), asyncio.timeout(10):
        await lease.lost.wait()
