"""Jobs come as there is credit for them."""

import asyncio
import math
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import Client
from nats.js import JetStreamContext

from runners.broker.connection import Link, connected
from runners.broker.job_queue import BRIEF, EXPIRES, Delivery, Inbox, expiry
from runners.broker.streams import Streams
from schemas import subjects
from tests.runners.conftest import eventually

CONFIGS = subjects.streams(replicas=1, queue_cap=1000, events_age=900, events_bytes=256_000_000)
SUBJECT = subjects.job("default", "samovar/x", "v")


class Desk:
    """Takes what comes, and holds it."""

    def __init__(self) -> None:
        self.taken: list[Delivery] = []

    def receive(self, delivery: Delivery) -> None:
        self.taken.append(delivery)

    @property
    def jobs(self) -> list[bytes]:
        return [delivery.data for delivery in self.taken]


@pytest.fixture
async def link(js: JetStreamContext, nats_url: str) -> AsyncGenerator[Link]:
    async with connected(nats_url, "tester") as link:
        yield link


@asynccontextmanager
async def an_inbox(link: Link, desk: Desk, credit: int, ack_wait: float = 10) -> AsyncGenerator[Inbox]:
    inbox = Inbox(
        link,
        Streams(link, CONFIGS),
        name=subjects.consumer("default", "v"),
        filter=subjects.jobs_of("default", "samovar/x", "v"),
        ack_wait=ack_wait,
        credit=lambda: credit,
        receive=desk.receive,
    )
    keeping = asyncio.create_task(inbox.keep())
    try:
        yield inbox
    finally:
        await inbox.close()
        keeping.cancel()
        await asyncio.wait([keeping])


async def put(nc: Client, *jobs: bytes) -> None:
    for job in jobs:
        await nc.jetstream().publish(SUBJECT, job)


async def unsettled(nc: Client) -> int:
    return (await nc.jetstream().stream_info(subjects.JOBS)).state.messages


async def test_no_more_is_taken_than_there_is_credit_for(link: Link, nc: Client) -> None:
    await put(nc, *(b"%d" % number for number in range(10)))
    desk = Desk()
    async with an_inbox(link, desk, credit=4):
        await eventually(lambda: len(desk.taken) == 4)
        await link.flush()
        assert desk.jobs == [b"0", b"1", b"2", b"3"]
        for delivery in desk.taken[:2]:
            await delivery.settle()
        await eventually(lambda: len(desk.taken) == 6)
        await eventually(lambda: _equals(nc, 8))


async def _equals(nc: Client, jobs: int) -> bool:
    return await unsettled(nc) == jobs


@given(st.floats(0, 1e7), st.floats(0, EXPIRES / 2))
def test_what_is_asked_for_at_different_times_ends_at_the_same(now: float, later: float) -> None:
    first, second = now + expiry(now), now + later + expiry(now + later)
    assert BRIEF <= first - now <= BRIEF + EXPIRES
    assert math.isclose((second - first) / EXPIRES, round((second - first) / EXPIRES), abs_tol=1e-3)
    assert second - first < EXPIRES * 1.001


@pytest.mark.parametrize("moment", [0.0, 15.0, 18.9, 19.1, 21.0, 25.0, 29.5])
async def test_jobs_are_given_at_every_moment(
    link: Link, nc: Client, monkeypatch: pytest.MonkeyPatch, moment: float
) -> None:
    """The broker refuses requests that end too soon for their heartbeats."""
    desk = Desk()
    with monkeypatch.context() as patched:
        patched.setattr("runners.broker.job_queue.time", SimpleNamespace(monotonic=lambda: moment, time=time.time))
        async with an_inbox(link, desk, credit=4):
            await put(nc, b"tea")
            await eventually(lambda: desk.jobs == [b"tea"], within=5)


async def test_all_of_a_long_queue_comes_in_order(link: Link, nc: Client) -> None:
    jobs = [b"%d" % number for number in range(300)]
    await put(nc, *jobs)
    desk = Desk()
    async with an_inbox(link, desk, credit=8):
        for number in range(300):
            await eventually(lambda number=number: len(desk.taken) > number)
            await desk.taken[number].settle()
        await eventually(lambda: _equals(nc, 0))
    assert desk.jobs == jobs


async def test_what_is_free_beside_long_jobs_is_asked_for(link: Link, nc: Client) -> None:
    await put(nc, *(b"%d" % number for number in range(4)))
    desk = Desk()
    async with an_inbox(link, desk, credit=4) as inbox:
        await eventually(lambda: len(desk.taken) == 4)
        await desk.taken[0].settle()
        await put(nc, b"next")
        await eventually(lambda: len(desk.taken) == 5)
        assert inbox.held == 4


async def test_what_is_held_is_not_given_to_others(link: Link, nc: Client) -> None:
    await put(nc, b"mine")
    mine, theirs = Desk(), Desk()
    async with an_inbox(link, mine, 1, ack_wait=0.3) as holding, an_inbox(link, theirs, 1, ack_wait=0.3):
        await eventually(lambda: mine.taken or theirs.taken)
        if theirs.taken:
            mine, theirs = theirs, mine
        for _ in range(10):
            await asyncio.sleep(0.1)  # longer than ack_wait in all
            await mine.taken[0].hold()
        assert not theirs.taken
        await mine.taken[0].settle()
        assert holding.held == 0


async def test_what_is_given_back_comes_again_as_a_repeat(link: Link, nc: Client) -> None:
    await put(nc, b"job")
    desk = Desk()
    async with an_inbox(link, desk, credit=1):
        await eventually(lambda: desk.taken)
        assert not desk.taken[0].redelivered
        await desk.taken[0].give_back()
        await eventually(lambda: len(desk.taken) == 2)
        assert desk.taken[1].redelivered
        await desk.taken[1].refuse()
        await eventually(lambda: _equals(nc, 0))


@pytest.mark.parametrize("lost", ["consumer", "stream"])
async def test_what_is_missing_is_made_again(link: Link, nc: Client, lost: str) -> None:
    desk = Desk()
    async with an_inbox(link, desk, credit=1):
        await eventually(lambda: _has_consumer(nc))
        if lost == "stream":
            await nc.jetstream().delete_stream(subjects.JOBS)
        else:
            await nc.jetstream().delete_consumer(subjects.JOBS, subjects.consumer("default", "v"))
        await eventually(lambda: _has_consumer(nc))
        await put(nc, b"job")
        await eventually(lambda: desk.taken)


async def _has_consumer(nc: Client) -> bool:
    from nats.js.errors import NotFoundError

    try:
        return bool(await nc.jetstream().consumers_info(subjects.JOBS))
    except NotFoundError:
        return False


async def test_words_of_an_earlier_stream_do_not_touch_the_new_one(link: Link, nc: Client) -> None:
    await put(nc, b"old")
    desk = Desk()
    async with an_inbox(link, desk, credit=2):
        await eventually(lambda: desk.taken)
        await nc.jetstream().delete_stream(subjects.JOBS)
        await eventually(lambda: _has_consumer(nc))
        await put(nc, b"new")
        await eventually(lambda: len(desk.taken) == 2)
        await desk.taken[0].settle()
        await link.flush()
        assert await unsettled(nc) == 1
