"""The agent's composition root."""

import asyncio
import signal
from collections.abc import Coroutine, Generator
from contextlib import AsyncExitStack, contextmanager
from typing import TypeVar

import structlog

from runners import files
from runners.cancels import Cancels
from runners.demand import Demand
from runners.errors import RunnerError
from runners.files import Files
from runners.life import Agent
from runners.link import Link, connected
from runners.offers import Model, offered
from runners.pool import Pool
from runners.presence import Herald
from runners.reporter import Reporter
from runners.settings import Settings
from runners.streams import Streams
from runners.warm import Warm
from schemas import subjects

log = structlog.stdlib.get_logger()

T = TypeVar("T")


async def serve(settings: Settings, stop: asyncio.Event | None = None) -> None:
    """Take jobs and say what becomes of them until `stop`, SIGTERM or SIGINT; then give back what is left."""
    stop = stop or asyncio.Event()
    with _signals(stop):
        store = files.at(settings.files_url)
        async with AsyncExitStack() as stack:
            prepared = await _unless(stop, _prepare(settings, stack))
            if prepared is None:
                return
            models, link = prepared
            await _work(settings, stop, link, models, store)


async def _prepare(settings: Settings, stack: AsyncExitStack) -> tuple[dict[str, Model], Link]:
    models = await offered(settings)
    log.info("offering", agent=settings.agent, models=sorted(model.name for model in models.values()))
    return models, await stack.enter_async_context(connected(settings.nats_url, settings.agent))


async def _unless(stop: asyncio.Event, start: Coroutine[None, None, T]) -> T | None:
    """A start may take long, and must not outlast the wish to stop."""
    stopping, starting = asyncio.ensure_future(stop.wait()), asyncio.ensure_future(start)
    try:
        await asyncio.wait([stopping, starting], return_when=asyncio.FIRST_COMPLETED)
        return starting.result() if starting.done() else None
    finally:
        for task in (stopping, starting):
            task.cancel()
        await asyncio.wait([stopping, starting])


async def _work(settings: Settings, stop: asyncio.Event, link: Link, models: dict[str, Model], store: Files) -> None:
    streams = Streams(link, _configurations(settings))
    agent = Agent(
        name=settings.agent,
        reporter=Reporter(link, streams),
        cancels=Cancels(),
        files=store,
        run_limit=settings.run_limit,
    )

    def warm(version: str) -> Warm:
        return Warm(models[version], settings, agent, link, streams, pool.changed.set)

    pool = Pool(models, warm, drain=settings.drain_seconds, left=lambda: demand.look())
    demand = Demand(streams, pool, settings.pool)
    offers = [model.offer for model in models.values()]
    herald = Herald(link, pool, offers, agent=settings.agent, name=settings.pool)
    introduction = asyncio.Event()

    def reconnected() -> None:
        for inbox in pool.inboxes:
            inbox.lose()
        demand.look()
        introduction.set()

    link.on_reconnect(reconnected)
    await link.listen(subjects.CANCELS, agent.cancels.heard)
    await link.listen(subjects.wake(settings.pool, "*"), demand.woken)
    await link.listen(subjects.HELLO, herald.greeted)
    await link.listen(subjects.PING, herald.pinged, queue="runners")
    await _unless(stop, demand.prepare())
    introduction.set()
    async with asyncio.TaskGroup() as tasks:
        chores = [
            tasks.create_task(demand.watch()),
            tasks.create_task(herald.keep_saying()),
            tasks.create_task(_introduce(herald, introduction)),
        ]
        heart = tasks.create_task(_beat(pool, settings.heartbeat))
        try:
            await _until(stop, link)
        finally:
            log.info("stopping")
            link.leave()
            for chore in chores:
                chore.cancel()
            await pool.close()
            heart.cancel()
    await link.flush()
    log.info("stopped")


async def _until(stop: asyncio.Event, link: Link) -> None:
    """Until we are to stop. A connection that is closed for good ends the agent: whoever started it starts another."""
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait([stopping, link.lost], return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
    if not stop.is_set():
        raise RunnerError("NATS closed the connection for good")


async def _introduce(herald: Herald, asked: asyncio.Event) -> None:
    while True:
        await asked.wait()
        asked.clear()
        await herald.introduce()


async def _beat(pool: Pool, every: float) -> None:
    """One heartbeat for all jobs in hand, which user code cannot block."""
    while True:
        await asyncio.sleep(every)
        for inbox in pool.inboxes:
            await inbox.tick()


def _configurations(settings: Settings) -> dict[str, dict[str, object]]:
    return subjects.streams(
        replicas=settings.replicas,
        queue_cap=settings.queue_cap,
        events_age=settings.events_age,
        events_bytes=settings.events_bytes,
    )


@contextmanager
def _signals(stop: asyncio.Event) -> Generator[None]:
    loop = asyncio.get_running_loop()
    wanted = (signal.SIGTERM, signal.SIGINT)
    for number in wanted:
        loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number in wanted:
            loop.remove_signal_handler(number)
