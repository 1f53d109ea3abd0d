"""Jobs are requested as there is credit for them."""

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

from runners.broker.connection import Connection, connected
from runners.broker.job_queue import MIN_REQUEST_SECONDS, REQUEST_SECONDS, Delivery, JobQueue, request_seconds
from runners.broker.streams import Streams
from schemas import subjects
from tests.runners.conftest import eventually

CONFIGS = subjects.stream_configs(replicas=1, queue_cap=1000, events_age=900, events_bytes=256_000_000)
SUBJECT = subjects.job("default", "samovar/x", "v")


class Collector:
    """Collects deliveries, and keeps them in hand."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []

    def on_delivery(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)

    @property
    def jobs(self) -> list[bytes]:
        return [delivery.data for delivery in self.deliveries]


@pytest.fixture
async def connection(js: JetStreamContext, nats_url: str) -> AsyncGenerator[Connection]:
    async with connected(nats_url, "tester") as connection:
        yield connection


@asynccontextmanager
async def open_queue(
    connection: Connection, collector: Collector, credit: int, ack_wait: float = 10
) -> AsyncGenerator[JobQueue]:
    queue = JobQueue(
        connection,
        Streams(connection, CONFIGS),
        name=subjects.consumer("default", "v"),
        filter=subjects.jobs_of("default", "samovar/x", "v"),
        ack_wait=ack_wait,
        credit=lambda: credit,
        on_delivery=collector.on_delivery,
    )
    task = asyncio.create_task(queue.run())
    try:
        yield queue
    finally:
        await queue.close()
        task.cancel()
        await asyncio.wait([task])


async def put(nc: Client, *jobs: bytes) -> None:
    for job in jobs:
        await nc.jetstream().publish(SUBJECT, job)


async def count_stored(nc: Client) -> int:
    return (await nc.jetstream().stream_info(subjects.JOBS)).state.messages


async def test_no_more_jobs_are_delivered_than_there_is_credit_for(connection: Connection, nc: Client) -> None:
    await put(nc, *(b"%d" % number for number in range(10)))
    collector = Collector()
    async with open_queue(connection, collector, credit=4):
        await eventually(lambda: len(collector.deliveries) == 4)
        await connection.flush()
        assert collector.jobs == [b"0", b"1", b"2", b"3"]
        for delivery in collector.deliveries[:2]:
            await delivery.acknowledge()
        await eventually(lambda: len(collector.deliveries) == 6)
        await eventually(lambda: _has_stored(nc, 8))


async def _has_stored(nc: Client, jobs: int) -> bool:
    return await count_stored(nc) == jobs


@given(st.floats(0, 1e7), st.floats(0, REQUEST_SECONDS / 2))
def test_requests_of_different_moments_end_at_the_same(now: float, later: float) -> None:
    first, second = now + request_seconds(now), now + later + request_seconds(now + later)
    assert MIN_REQUEST_SECONDS <= first - now <= MIN_REQUEST_SECONDS + REQUEST_SECONDS
    assert math.isclose((second - first) / REQUEST_SECONDS, round((second - first) / REQUEST_SECONDS), abs_tol=1e-3)
    assert second - first < REQUEST_SECONDS * 1.001


@pytest.mark.parametrize("moment", [0.0, 15.0, 18.9, 19.1, 21.0, 25.0, 29.5])
async def test_jobs_are_delivered_at_every_moment(
    connection: Connection, nc: Client, monkeypatch: pytest.MonkeyPatch, moment: float
) -> None:
    """The broker refuses requests that end too soon for their heartbeats."""
    collector = Collector()
    with monkeypatch.context() as patched:
        patched.setattr("runners.broker.job_queue.time", SimpleNamespace(monotonic=lambda: moment, time=time.time))
        async with open_queue(connection, collector, credit=4):
            await put(nc, b"tea")
            await eventually(lambda: collector.jobs == [b"tea"], within=5)


async def test_a_long_queue_is_delivered_in_order(connection: Connection, nc: Client) -> None:
    jobs = [b"%d" % number for number in range(300)]
    await put(nc, *jobs)
    collector = Collector()
    async with open_queue(connection, collector, credit=8):
        for number in range(300):
            await eventually(lambda number=number: len(collector.deliveries) > number)
            await collector.deliveries[number].acknowledge()
        await eventually(lambda: _has_stored(nc, 0))
    assert collector.jobs == jobs


async def test_credit_beside_long_jobs_is_used(connection: Connection, nc: Client) -> None:
    await put(nc, *(b"%d" % number for number in range(4)))
    collector = Collector()
    async with open_queue(connection, collector, credit=4) as queue:
        await eventually(lambda: len(collector.deliveries) == 4)
        await collector.deliveries[0].acknowledge()
        await put(nc, b"next")
        await eventually(lambda: len(collector.deliveries) == 5)
        assert queue.in_hand == 4


async def test_a_job_in_hand_is_not_delivered_to_others(connection: Connection, nc: Client) -> None:
    await put(nc, b"mine")
    mine, theirs = Collector(), Collector()
    async with (
        open_queue(connection, mine, 1, ack_wait=0.3) as holding,
        open_queue(connection, theirs, 1, ack_wait=0.3),
    ):
        await eventually(lambda: mine.deliveries or theirs.deliveries)
        if theirs.deliveries:
            mine, theirs = theirs, mine
        for _ in range(10):
            await asyncio.sleep(0.1)  # longer than ack_wait in all
            await mine.deliveries[0].keep_alive()
        assert not theirs.deliveries
        await mine.deliveries[0].acknowledge()
        assert holding.in_hand == 0


async def test_a_requeued_job_is_redelivered(connection: Connection, nc: Client) -> None:
    await put(nc, b"job")
    collector = Collector()
    async with open_queue(connection, collector, credit=1):
        await eventually(lambda: collector.deliveries)
        assert not collector.deliveries[0].is_redelivered
        await collector.deliveries[0].requeue()
        await eventually(lambda: len(collector.deliveries) == 2)
        assert collector.deliveries[1].is_redelivered
        await collector.deliveries[1].terminate()
        await eventually(lambda: _has_stored(nc, 0))


@pytest.mark.parametrize("lost", ["consumer", "stream"])
async def test_a_missing_stream_or_consumer_is_created_again(connection: Connection, nc: Client, lost: str) -> None:
    collector = Collector()
    async with open_queue(connection, collector, credit=1):
        await eventually(lambda: _has_consumer(nc))
        if lost == "stream":
            await nc.jetstream().delete_stream(subjects.JOBS)
        else:
            await nc.jetstream().delete_consumer(subjects.JOBS, subjects.consumer("default", "v"))
        await eventually(lambda: _has_consumer(nc))
        await put(nc, b"job")
        await eventually(lambda: collector.deliveries)


async def _has_consumer(nc: Client) -> bool:
    from nats.js.errors import NotFoundError

    try:
        return bool(await nc.jetstream().consumers_info(subjects.JOBS))
    except NotFoundError:
        return False


async def test_acknowledgements_of_an_earlier_stream_do_not_touch_the_new_one(
    connection: Connection, nc: Client
) -> None:
    await put(nc, b"old")
    collector = Collector()
    async with open_queue(connection, collector, credit=2):
        await eventually(lambda: collector.deliveries)
        await nc.jetstream().delete_stream(subjects.JOBS)
        await eventually(lambda: _has_consumer(nc))
        await put(nc, b"new")
        await eventually(lambda: len(collector.deliveries) == 2)
        await collector.deliveries[0].acknowledge()
        await connection.flush()
        assert await count_stored(nc) == 1
