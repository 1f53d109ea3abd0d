"""The agent's composition root."""

import asyncio
import signal
from collections.abc import Callable, Coroutine, Generator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

import structlog

from runners.broker.connection import Link, connected
from runners.broker.event_publisher import Reporter
from runners.broker.leases import Claims
from runners.broker.streams import Streams
from runners.builds.build_jobs import Builds
from runners.builds.training_jobs import Trainings
from runners.errors import RunnerError
from runners.fleet import status
from runners.fleet.heartbeat import Herald
from runners.instances.autoscaler import Demand
from runners.instances.factory import Serving
from runners.instances.instance import Shared
from runners.instances.monitor import Upkeep
from runners.instances.pool import Parts, Pool
from runners.instances.releases import Served
from runners.instances.retired import Retired
from runners.instances.slot import Ticking
from runners.jobs import file_store
from runners.jobs.cancellation import Cancels
from runners.jobs.file_store import Files
from runners.jobs.inputs import Inputs
from runners.jobs.job_run import Agent
from runners.jobs.secrets import Secrets
from runners.placement import devices, memory_profiles
from runners.placement.memory_profiles import Needs
from runners.process import scratch
from runners.settings import Settings
from runners.versions import archive_cache
from runners.versions.archive_cache import Packs
from runners.versions.environments import FOLDER, Environments
from runners.versions.introspection import Model
from runners.versions.local_models import Stock, taken
from runners.versions.pushed import Pushed
from runners.versions.resolver import Library
from schemas import subjects

log = structlog.stdlib.get_logger()

T = TypeVar("T")


async def serve(settings: Settings, stop: asyncio.Event | None = None) -> None:
    """Take jobs and say what becomes of them until `stop`, SIGTERM or SIGINT; then give back what is left."""
    stop = stop or asyncio.Event()
    with _signals(stop):
        store = file_store.at(settings.files_url, settings.files_token)
        cache = Path(settings.cache_dir)
        environments = Environments(cache / FOLDER, limit=settings.build_limit)
        pushed = Pushed(Packs(store, cache / archive_cache.FOLDER), environments, settings)
        async with AsyncExitStack() as stack:
            prepared = await _unless(stop, _prepare(settings, pushed, stack))
            if prepared is None:
                return
            stock, link = prepared
            await _work(settings, stop, link, stock, pushed, store)


async def _prepare(settings: Settings, pushed: Pushed, stack: AsyncExitStack) -> tuple[Stock, Link]:
    await asyncio.to_thread(scratch.sweep)
    await pushed.tidy()
    stock = await taken(settings, pushed.environments)
    log.info("offering", agent=settings.agent, models=sorted(model.name for model in stock.models.values()))
    return stock, await stack.enter_async_context(connected(settings.nats_url, settings.agent))


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


async def _work(
    settings: Settings, stop: asyncio.Event, link: Link, stock: Stock, pushed: Pushed, store: Files
) -> None:
    streams = Streams(link, _configurations(settings))
    agent = Agent(
        name=settings.agent,
        reporter=Reporter(link, streams),
        cancels=Cancels(),
        files=store,
        inputs=Inputs(store, Secrets(settings.secrets_key), limit=settings.input_bytes, timeout=settings.input_timeout),
        run_limit=settings.run_limit,
        max_output=settings.max_output,
    )
    host = devices.found(settings)
    known = Needs(Path(settings.cache_dir) / memory_profiles.FOLDER)
    shared = Shared(
        settings=settings,
        agent=agent,
        link=link,
        streams=streams,
        needs=known,
        changed=lambda: pool.changed.set(),
        idle=lambda: pool.seating.arrange(),
        replaced=lambda: pool.count("replaced"),
        grew=lambda: upkeep.grew(),
    )
    library = Library(stock.models, pushed)
    serving = Serving(stock.models, library, pushed, shared)
    claims = Claims(link, settings.agent, replicas=settings.replicas)
    served = Served(devices.hardware(host, settings), lambda: retold())
    parts = Parts(
        host=host,
        settings=settings,
        serving=serving,
        claims=claims,
        needs=known,
        releases=served.fitting,
        left=lambda: demand.look(),
    )
    pool = Pool(stock.models, parts)
    demand = Demand(link, streams, claims, pool, settings.pool, served.fitting)
    upkeep = Upkeep(host, pool, known, demand.ask_for_more)
    offers = [model.offer for model in stock.models.values()]
    herald = Herald(
        link, offers, lambda: status.taken(settings, host, pool, upkeep), pool.changed, agent=settings.agent
    )
    builds = Builds(pushed, pool, settings, agent, link, streams)
    trainings = Trainings(library, pool, settings, agent, link, streams)
    retired = Retired(pool, pushed.packs)
    introduction = asyncio.Event()

    def inboxes() -> list[Ticking]:
        return [*pool.inboxes, builds.inbox, trainings.inbox]

    def retold() -> None:
        pool.keep_least()
        demand.look()

    def reconnected() -> None:
        for inbox in inboxes():
            inbox.lose()
        demand.look()
        introduction.set()

    def added(model: Model) -> None:
        offers.append(model.offer)
        pool.offer(model.offer.version)
        demand.look()
        introduction.set()

    link.on_reconnect(reconnected)
    await link.listen(subjects.CANCELS, agent.cancels.heard)
    await link.listen(subjects.wake("*", "*"), demand.woken)
    await link.listen(subjects.more("*", "*"), demand.more)
    await link.listen(subjects.HELLO, herald.greeted)
    await link.listen(subjects.PING, herald.pinged, queue="runners")
    await link.listen(subjects.RETIRED, retired.heard)
    await link.listen(subjects.RELEASES, served.heard)
    await _unless(stop, demand.prepare())
    introduction.set()
    async with asyncio.TaskGroup() as tasks:
        chores = [
            tasks.create_task(demand.watch()),
            tasks.create_task(claims.keep()),
            tasks.create_task(upkeep.keep()),
            tasks.create_task(herald.keep_saying()),
            tasks.create_task(_introduce(herald, introduction)),
            tasks.create_task(retired.forget()),
            tasks.create_task(stock.rest(added)),
        ]
        if settings.builds:
            chores.append(tasks.create_task(builds.keep()))
        if settings.trainings:
            chores.append(tasks.create_task(trainings.keep()))
        heart = tasks.create_task(_beat(inboxes, settings.heartbeat))
        try:
            await _until(stop, link)
        finally:
            log.info("stopping")
            link.leave()
            for chore in chores:
                chore.cancel()
            await asyncio.gather(pool.close(), builds.close(), trainings.close())
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


async def _beat(inboxes: Callable[[], list[Ticking]], every: float) -> None:
    """One heartbeat for all jobs in hand, which user code cannot block."""
    while True:
        await asyncio.sleep(every)
        for inbox in inboxes():
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
