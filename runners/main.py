"""The agent's composition root: it builds the parts of an agent, runs them, and ends them."""

import asyncio
import signal
from collections.abc import Coroutine, Generator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import structlog
from msgspec import Struct
from nats.aio.msg import Msg

from runners.broker.connection import Connection, connected
from runners.broker.event_publisher import EventPublisher
from runners.broker.leases import Leases
from runners.broker.streams import Streams
from runners.builds.build_jobs import BuildJobs
from runners.builds.training_jobs import TrainingJobs
from runners.errors import RunnerError
from runners.fleet.heartbeat import HeartbeatSender
from runners.fleet.status import HostStatus
from runners.instances.autoscaler import Autoscaler
from runners.instances.factory import InstanceFactory
from runners.instances.instance import InstanceContext
from runners.instances.monitor import Monitor
from runners.instances.pool import Pool, PoolServices
from runners.instances.pool_entry import HeldQueue
from runners.instances.releases import DeployedReleases
from runners.instances.retired import VersionRemover
from runners.jobs import file_store
from runners.jobs.cancellation import Cancellations
from runners.jobs.file_store import FileStore
from runners.jobs.inputs import InputOpener
from runners.jobs.job_run import JobContext
from runners.jobs.secrets import SecretBox
from runners.placement import devices, memory_profiles
from runners.placement.memory_profiles import MemoryProfiles
from runners.placement.planner import Host
from runners.process import scratch
from runners.settings import Settings
from runners.versions import archive_cache, environments
from runners.versions.archive_cache import ArchiveCache
from runners.versions.environments import EnvironmentCache
from runners.versions.introspection import Model
from runners.versions.local_models import LocalModels, load_local_models
from runners.versions.pushed import PushedVersions
from runners.versions.resolver import Resolver
from schemas import subjects

log = structlog.stdlib.get_logger()

T = TypeVar("T")


async def serve(settings: Settings, stop: asyncio.Event | None = None) -> None:
    """Run an agent until `stop`, SIGTERM or SIGINT; then return its unfinished jobs to their queues."""
    stop = stop or asyncio.Event()
    with _signals(stop):
        files = file_store.open_file_store(settings.files_url, settings.files_token)
        pushed = _build_caches(settings, files)
        async with AsyncExitStack() as stack:
            prepared = await _unless_stopped(stop, _prepare(settings, pushed, stack))
            if prepared is not None:
                local, connection = prepared
                await _build_agent(settings, connection, files, pushed, local).run(stop)


async def _prepare(settings: Settings, pushed: PushedVersions, stack: AsyncExitStack) -> tuple[LocalModels, Connection]:
    await asyncio.to_thread(scratch.remove_stale_folders)
    await pushed.trim_caches()
    local = await load_local_models(settings, pushed.environments)
    names = sorted(model.name for model in local.models.values())
    log.info("loaded the local models", agent=settings.agent, models=names)
    return local, await stack.enter_async_context(connected(settings.nats_url, settings.agent))


def _build_caches(settings: Settings, files: FileStore) -> PushedVersions:
    """Build the disk caches, from which pushed versions come."""
    folder = Path(settings.cache_dir)
    environment_cache = EnvironmentCache(folder / environments.FOLDER, limit=settings.build_limit)
    return PushedVersions(ArchiveCache(files, folder / archive_cache.FOLDER), environment_cache, settings)


def _build_job_context(settings: Settings, connection: Connection, streams: Streams, files: FileStore) -> JobContext:
    """Build what every job needs, of whatever kind."""
    secrets = SecretBox(settings.secrets_key)
    return JobContext(
        agent=settings.agent,
        events=EventPublisher(connection, streams),
        cancellations=Cancellations(),
        files=files,
        inputs=InputOpener(files, secrets, limit=settings.input_bytes, timeout=settings.input_timeout),
        run_limit=settings.run_limit,
        max_output=settings.max_output,
    )


class _Instances(Struct, frozen=True, kw_only=True):
    """The parts that load instances and keep them."""

    pool: Pool
    leases: Leases
    releases: DeployedReleases
    autoscaler: Autoscaler
    monitor: Monitor


def _build_instances(
    context: InstanceContext, host: Host, local: LocalModels, resolver: Resolver, pushed: PushedVersions
) -> _Instances:
    settings, connection = context.settings, context.connection
    leases = Leases(connection, settings.agent, replicas=settings.replicas)
    releases = DeployedReleases(devices.hardware_name(host, settings))
    queue_check = asyncio.Event()
    services = PoolServices(
        host=host,
        settings=settings,
        factory=InstanceFactory(local.models, resolver, pushed, context),
        leases=leases,
        profiles=context.profiles,
        releases=releases.by_service,
        on_vacancy=queue_check.set,
    )
    pool = Pool(local.models, services)
    autoscaler = Autoscaler(connection, context.streams, leases, pool, settings.pool, releases.by_service, queue_check)
    monitor = Monitor(host, pool, context.profiles, autoscaler.ask_other_hosts)
    return _Instances(pool=pool, leases=leases, releases=releases, autoscaler=autoscaler, monitor=monitor)


def _build_agent(
    settings: Settings, connection: Connection, files: FileStore, pushed: PushedVersions, local: LocalModels
) -> "RunnerAgent":
    """Build all parts of an agent, each from those before it."""
    streams = Streams(connection, _stream_configs(settings))
    jobs = _build_job_context(settings, connection, streams, files)
    host = devices.detect_host(settings)
    profiles = MemoryProfiles(Path(settings.cache_dir) / memory_profiles.FOLDER)
    resolver = Resolver(local.models, pushed)
    context = InstanceContext(settings=settings, jobs=jobs, connection=connection, streams=streams, profiles=profiles)
    instances = _build_instances(context, host, local, resolver, pushed)
    pool = instances.pool
    heartbeat = HeartbeatSender(
        connection,
        [model.info for model in local.models.values()],
        HostStatus(settings, host, pool, instances.monitor),
        pool.changed,
        agent=settings.agent,
    )
    return RunnerAgent(
        settings=settings,
        connection=connection,
        cancels=jobs.cancellations,
        local=local,
        instances=instances,
        heartbeat=heartbeat,
        builds=BuildJobs(pushed, pool.trial_slots, settings, jobs, connection, streams),
        trainings=TrainingJobs(resolver, pool.trial_slots, settings, jobs, connection, streams),
        retired=VersionRemover(pool, pushed.archives),
    )


class RunnerAgent(Struct, frozen=True, kw_only=True):
    """A complete agent: its subscriptions, its background tasks, and its end."""

    settings: Settings
    connection: Connection
    cancels: Cancellations
    local: LocalModels
    instances: _Instances
    heartbeat: HeartbeatSender
    builds: BuildJobs
    trainings: TrainingJobs
    retired: VersionRemover

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop`. Raises `RunnerError` if the connection is closed for good."""
        self.connection.on_reconnect(self._on_reconnect)
        await self._subscribe()
        await _unless_stopped(stop, self.instances.autoscaler.ensure_streams())
        self.heartbeat.request_registration()
        async with asyncio.TaskGroup() as tasks:
            background = [tasks.create_task(each) for each in self._background()]
            keep_alive = tasks.create_task(self._keep_jobs_alive())
            try:
                await _wait_for_stop(stop, self.connection)
            finally:
                log.info("stopping")
                self.connection.stop_reconnecting()
                for task in background:
                    task.cancel()
                await asyncio.gather(self.instances.pool.close(), self.builds.close(), self.trainings.close())
                keep_alive.cancel()
        await self.connection.flush()
        log.info("stopped")

    async def _subscribe(self) -> None:
        subscribe, autoscaler = self.connection.subscribe, self.instances.autoscaler
        await subscribe(subjects.CANCELS, self.cancels.on_message)
        await subscribe(subjects.wake("*", "*"), autoscaler.receive_wake)
        await subscribe(subjects.more_instances("*", "*"), autoscaler.receive_more)
        await subscribe(subjects.HELLO, self.heartbeat.receive_hello)
        await subscribe(subjects.PING, self.heartbeat.receive_ping, queue="runners")
        await subscribe(subjects.RETIRED, self.retired.receive)
        await subscribe(subjects.RELEASES, self._receive_releases)

    def _background(self) -> list[Coroutine[Any, Any, None]]:
        """Return the tasks that run until the agent stops."""
        background: list[Coroutine[Any, Any, None]] = [
            self.instances.autoscaler.run(),
            self.instances.leases.keep_renewing(),
            self.instances.monitor.run(),
            self.heartbeat.run(),
            self.heartbeat.keep_registered(),
            self.retired.run(),
            self.local.load_remaining(self._on_model_added),
        ]
        if self.settings.builds:
            background.append(self.builds.run())
        if self.settings.trainings:
            background.append(self.trainings.run())
        return background

    @property
    def _queues(self) -> list[HeldQueue]:
        return [*self.instances.pool.queues, self.builds.queue, self.trainings.queue]

    async def _keep_jobs_alive(self) -> None:
        """Keep all jobs in hand alive from one place, which user code cannot block."""
        while True:
            await asyncio.sleep(self.settings.heartbeat)
            for queue in self._queues:
                await queue.keep_alive()

    def _on_reconnect(self) -> None:
        for queue in self._queues:
            queue.reset()
        self.instances.autoscaler.check_now()
        self.heartbeat.request_registration()

    def _on_model_added(self, model: Model) -> None:
        self.heartbeat.add_version(model.info)
        self.instances.pool.add_version(model.version)
        self.instances.autoscaler.check_now()

    async def _receive_releases(self, msg: Msg) -> None:
        if self.instances.releases.update(msg):
            self.instances.pool.ensure_minimum()
            self.instances.autoscaler.check_now()


async def _unless_stopped(stop: asyncio.Event, start: Coroutine[None, None, T]) -> T | None:
    """Return the result of `start`, or None if the agent is to stop first: a start may take long."""
    stopping, starting = asyncio.ensure_future(stop.wait()), asyncio.ensure_future(start)
    try:
        await asyncio.wait([stopping, starting], return_when=asyncio.FIRST_COMPLETED)
        return starting.result() if starting.done() else None
    finally:
        for task in (stopping, starting):
            task.cancel()
        await asyncio.wait([stopping, starting])


async def _wait_for_stop(stop: asyncio.Event, connection: Connection) -> None:
    """Wait until the agent is to stop.

    Raises `RunnerError` if the connection is closed for good: the agent ends, and its supervisor starts another.
    """
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait([stopping, connection.closed], return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
    if not stop.is_set():
        raise RunnerError("NATS closed the connection for good")


def _stream_configs(settings: Settings) -> dict[str, dict[str, object]]:
    return subjects.stream_configs(
        replicas=settings.replicas,
        queue_cap=settings.queue_cap,
        events_age=settings.events_age,
        events_bytes=settings.events_bytes,
    )


@contextmanager
def _signals(stop: asyncio.Event) -> Generator[None]:
    """Set `stop` on SIGTERM and SIGINT."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGTERM, signal.SIGINT)
    for number in numbers:
        loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
