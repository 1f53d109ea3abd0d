"""Who has which instance, on a real broker."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from nats.js import JetStreamContext

from runners.broker.connection import Link, connected
from runners.broker.leases import Claims
from schemas import subjects
from tests.runners.conftest import eventually

V = "a" * 64


@pytest.fixture
async def link(js: JetStreamContext, nats_url: str) -> AsyncGenerator[Link]:
    await js._nc.request(f"$JS.API.STREAM.DELETE.{subjects.INSTANCES}")
    async with connected(nats_url, "claims") as link:
        yield link


@asynccontextmanager
async def keeping(claims: Claims) -> AsyncGenerator[None]:
    task = asyncio.create_task(claims.keep())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_an_instance_is_one_agents(link: Link) -> None:
    ours, theirs = Claims(link, "ours"), Claims(link, "theirs")
    claim = await ours.take(V, range(1))
    assert claim is not None
    assert await theirs.take(V, range(1)) is None
    assert await theirs.taken() == {V}


async def test_of_many_who_want_it_at_once_one_gets_it(link: Link) -> None:
    agents = [Claims(link, f"agent-{number}") for number in range(20)]
    claims = await asyncio.gather(*(agent.take(V, range(1)) for agent in agents))
    assert sum(claim is not None for claim in claims) == 1


async def test_the_next_one_gets_the_next_number(link: Link) -> None:
    ours, theirs = Claims(link, "ours"), Claims(link, "theirs")
    first, second = await ours.take(V, range(3)), await theirs.take(V, range(3))
    assert first is not None
    assert second is not None
    assert (first.number, second.number) == (0, 1)


async def test_what_is_released_can_be_had(link: Link) -> None:
    ours, theirs = Claims(link, "ours"), Claims(link, "theirs")
    claim = await ours.take(V, range(1))
    assert claim is not None
    await ours.release(claim)
    assert await theirs.take(V, range(1)) is not None


async def test_a_claim_outlives_its_time_while_it_is_renewed(link: Link) -> None:
    ours, theirs = Claims(link, "ours", ttl=0.5, renew=0.1), Claims(link, "theirs")
    claim = await ours.take(V, range(1))
    assert claim is not None
    first = claim.sequence
    async with keeping(ours):
        await eventually(lambda: claim.sequence > first + 8)
        assert await theirs.take(V, range(1)) is None
    await eventually(lambda: theirs.take(V, range(1)))


async def test_a_bucket_that_was_lost_is_made_anew_and_the_claim_with_it(link: Link, js: JetStreamContext) -> None:
    ours, theirs = Claims(link, "ours", renew=0.1), Claims(link, "theirs")
    assert await ours.take(V, range(1)) is not None
    await js.delete_stream(subjects.INSTANCES)
    async with keeping(ours):
        await eventually(theirs.taken)
        assert await theirs.take(V, range(1)) is None


async def test_who_was_away_for_too_long_hears_that_it_is_somebody_elses(link: Link, js: JetStreamContext) -> None:
    ours, theirs = Claims(link, "ours", renew=0.1), Claims(link, "theirs")
    claim = await ours.take(V, range(1))
    assert claim is not None
    await js.purge_stream(subjects.INSTANCES)
    assert await theirs.take(V, range(1)) is not None
    async with keeping(ours), asyncio.timeout(10):
        await claim.lost.wait()
