"""An instance of a version: its worker process, its consumer, and the jobs in hand."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import structlog
from msgspec import Struct

from runners import units
from runners.batching.batcher import Batcher
from runners.batching.call import WorkerDeath
from runners.broker.connection import Connection
from runners.broker.job_queue import Delivery, JobQueue
from runners.broker.streams import Streams
from runners.errors import SetupFailed, SetupOutOfMemory
from runners.instances.worker_home import WorkerHome
from runners.jobs.job_run import JobContext, JobRun
from runners.jobs.jobs_in_hand import JobsInHand
from runners.placement.limits import WorkerLimits
from runners.placement.memory_profiles import MemoryProfiles
from runners.process import healthcheck, memory, worker_process
from runners.process.worker_process import NO_LIMITS, ProcessExit, WorkerProcess
from runners.settings import Settings
from runners.versions.introspection import Model
from runners.worker.frames import FromWorker, ItemsStarted, MemoryPeak, Ready
from schemas import subjects
from schemas.jobs import Job

log = structlog.stdlib.get_logger()

STEADY_SECONDS: Final = 30.0  # after so long a life, a worker's death is no pattern
MAX_RESTART_SECONDS: Final = 30.0
STOP_SECONDS: Final = 0.5
MOVE_SECONDS: Final = 60.0
GROWTH_FACTOR: Final = 1.2  # a worker has grown beyond its bytes when it was ready times this, and some bytes more
GROWTH_BYTES: Final = 32_000_000
REFUSAL_CREDIT: Final = 64  # jobs in hand while a version cannot be set up


class InstanceObserver(Protocol):
    """The owner of instances, which each of them keeps informed."""

    def on_instance_changed(self) -> None:
        """Take note that an instance became ready, or is so no more."""
        ...

    def on_instance_idle(self) -> None:
        """Take note that an instance has no more jobs in hand."""
        ...

    def on_worker_replaced(self) -> None:
        """Take note that a worker is to be replaced."""
        ...

    def on_memory_growth(self) -> None:
        """Take note that a worker uses more memory than before, or is about to."""
        ...


class InstanceContext(Struct, frozen=True, kw_only=True):
    """The services that all instances of an agent share."""

    settings: Settings
    jobs: JobContext
    connection: Connection
    streams: Streams
    profiles: MemoryProfiles


class Instance:
    """A loaded version.

    It owns the worker process and its folders, the queue that delivers its jobs, and the jobs in hand. The pool is its
    observer; it runs, parks and closes it.
    """

    def __init__(
        self, model: Model, context: InstanceContext, observer: InstanceObserver, pool: str | None = None
    ) -> None:
        """`pool` is that of the release whose jobs it takes; None means the agent's own pool."""
        self.model = model
        self._context = context
        self._settings = settings = context.settings
        self._job_context = context.jobs
        self._observer = observer
        self._log = log.bind(model=model.name, version=model.version[:12])
        self._batcher = Batcher(
            grace=settings.cancel_grace, on_batch_limit=self._limit_batches, on_out_of_memory=self._replace_if_grown
        )
        self._worker: WorkerProcess | None = None
        self._home: WorkerHome | None = None
        self._removals: set[asyncio.Task[None]] = set()
        self._jobs = JobsInHand(
            self._job_context,
            self._create_run,
            run=self._run_job,
            wait_to_requeue=self._wait_stopped,
            on_idle=observer.on_instance_idle,
        )
        self._setup_failure: SetupFailed | None = None
        self._worker_gone = asyncio.Event()
        version, pool = model.version, pool or settings.pool
        self.queue = JobQueue(
            context.connection,
            context.streams,
            name=subjects.consumer(pool, version),
            filter=subjects.jobs_of(pool, model.name, version),
            ack_wait=settings.ack_wait,
            credit=self._credit,
            on_delivery=self._receive,
        )
        self._pulling: asyncio.Task[None] | None = None
        self._has_healthcheck = self._checks_while_running = False
        self._replacing = asyncio.Event()
        self._limits: Callable[[Path], WorkerLimits] = lambda _: NO_LIMITS
        self.is_ready = False
        """Whether it takes jobs."""
        self.ready_at = 0.0
        """The time of `time.monotonic` since when it takes jobs."""
        self.is_parked = False
        self.can_park = False
        self.device_bytes = 0
        self._ready_bytes = 0
        self.largest_batch = 0
        """Jobs that ran together, at most."""
        self.load_seconds = 0.0
        self.used_at = time.monotonic()

    async def run(self, refuse_seconds: float, limits: Callable[[Path], WorkerLimits]) -> bool:
        """Load it and keep a worker alive, until one dies while it is parked; return False if it cannot be set up.

        After a failed setup, jobs of the next `refuse_seconds` are answered with its reason. `limits` returns those of
        a worker that may offload weights into a folder. Raises `SetupOutOfMemory` if more memory may help.
        """
        self._limits = limits
        idle_deaths = 0
        while True:
            started = time.monotonic()
            try:
                worker = await self._load()
            except SetupFailed as failure:
                profile = self._context.profiles.get(self.model.version)
                if failure.is_out_of_memory and not profile.needs_all_devices:
                    raise SetupOutOfMemory(str(failure)) from failure
                await self._refuse_jobs(failure, refuse_seconds)
                return False
            await self._wait_until_ended(worker)
            if self.is_parked:
                return True
            was_useful = self._batcher.last_done_at > started or time.monotonic() - started > STEADY_SECONDS
            idle_deaths = 0 if was_useful else idle_deaths + 1
            await asyncio.sleep(_restart_seconds(idle_deaths))

    async def close(self, drain_seconds: float, stop_waiting: asyncio.Event) -> None:
        """Take no more jobs, return those not started, let the others run for a while, and end the worker."""
        self.is_ready = False
        await self.queue.close()
        self._jobs.requeue_all(is_spared=self._batcher.is_in_worker)
        if drain_seconds and self._jobs.tasks:
            await self._drain(drain_seconds, stop_waiting)
        unfinished = self._jobs.requeue_all()
        await asyncio.sleep(0)
        await self._end_worker()
        self._worker_gone.set()
        if unfinished:
            self._log.info("returned unfinished jobs to the queue", jobs=len(unfinished))
            await asyncio.wait(unfinished)
        if self._pulling is not None:
            self._pulling.cancel()
            await asyncio.wait([self._pulling])
        self._remove_home()
        if self._removals:
            await asyncio.wait(self._removals)

    async def park(self) -> bool:
        """Take no more jobs, finish those that have started, and leave the device; return False if that failed."""
        await self._stop_taking_jobs()
        self.is_parked = True
        return await self._move(parked=True)

    async def unpark(self) -> bool:
        """Return to the device and take jobs again; return False if that failed."""
        self.is_parked = False
        moved = await self._move(parked=False)
        if moved:
            self._take_jobs()
        return moved

    def replace(self, reason: str) -> None:
        """Replace the worker once it has finished what it has."""
        if self._worker is not None and not self._replacing.is_set():
            self._log.warning("a worker is replaced", pid=self._worker.pid, reason=reason)
            self._batcher.stop_sending()
            self._replacing.set()
            self._observer.on_worker_replaced()

    def kill(self, reason: str) -> None:
        """Replace the worker at once; what it has runs again."""
        if self._worker is not None:
            self._log.warning("a worker is killed", pid=self._worker.pid, reason=reason)
            self._worker.kill()

    @property
    def pid(self) -> int | None:
        """The process id of its worker; None while there is none."""
        return self._worker.pid if self._worker is not None else None

    @property
    def is_busy(self) -> bool:
        """Whether it has jobs in hand."""
        return bool(self._jobs) or not self._batcher.is_idle

    @property
    def running_jobs(self) -> int:
        """The number of jobs in hand."""
        return len(self._jobs)

    @property
    def queued_jobs(self) -> int:
        """The number of jobs in the queue, as last reported; there are none while no job is in hand."""
        return self.queue.pending if self._jobs else 0

    @property
    def backlog_seconds(self) -> float:
        """The time that the jobs in the queue would take."""
        return self._batcher.estimate_seconds(self.queued_jobs)

    @property
    def setup_error(self) -> str | None:
        """The reason why it cannot be set up, if so."""
        return str(self._setup_failure) if self._setup_failure is not None else None

    @property
    def idle_seconds(self) -> float:
        """The time since it last had a job in hand."""
        return 0.0 if self.is_busy else time.monotonic() - max(self._batcher.last_done_at, self.used_at)

    async def _load(self) -> WorkerProcess:
        self._log.info("loading")
        self._observer.on_memory_growth()
        self._home = home = WorkerHome(self._settings.cache_dir)
        started = time.monotonic()
        worker: WorkerProcess | None = None
        try:
            limits = self._limits(home.offload)
            worker = await worker_process.start_worker(
                self.model.program, self._on_frame, home=home.path, limits=limits
            )
            ready = await worker.wait_ready(self._settings.setup_limit)
        except BaseException:
            if worker is not None:
                worker.kill()
                await worker.shut_down()
            self._remove_home()
            raise
        self._worker = worker
        self.load_seconds = time.monotonic() - started
        self._log.info("loaded", pid=worker.pid, seconds=round(ready.seconds, 3), placed=ready.placed or None)
        self._attach(worker, ready)
        self._take_jobs()
        return worker

    def _attach(self, worker: WorkerProcess, ready: Ready) -> None:
        profile = self._context.profiles.get(self.model.version)
        self._batcher.attach(
            worker,
            size=min(ready.max_batch_size, profile.largest_batch or ready.max_batch_size),
            window=ready.max_batch_wait_ms / 1000,
            slots=ready.concurrency,
            batch_by=ready.batch_by,
        )
        self._replacing.clear()
        self._has_healthcheck = ready.healthcheck
        self._checks_while_running = ready.concurrency > 1
        self.can_park = ready.parkable
        self.device_bytes = ready.device_bytes
        self._ready_bytes = memory.resident_bytes([worker.pid])[worker.pid]
        self._observer.on_memory_growth()
        self.used_at = time.monotonic()

    def _limit_batches(self, size: int) -> None:
        """Remember that a larger batch than this ran out of memory."""
        self._context.profiles.update(self.model.version, largest_batch=size)

    def _replace_if_grown(self) -> bool:
        """Replace a worker that has grown since it was ready, as a run got no memory in it; return whether it has."""
        worker = self._worker
        size = memory.resident_bytes([worker.pid])[worker.pid] if worker is not None else 0
        has_grown = size > GROWTH_FACTOR * self._ready_bytes + GROWTH_BYTES
        if has_grown:
            before, now = units.format_bytes(self._ready_bytes), units.format_bytes(size)
            self.replace(f"a run got no memory in it; it has grown from {before} to {now}")
        return has_grown

    def _on_frame(self, frame: FromWorker) -> None:
        match frame:
            case MemoryPeak(device_bytes=size):
                self.device_bytes = max(self.device_bytes, size)
                self._observer.on_memory_growth()
            case ItemsStarted(ids=ids):
                self.largest_batch = max(self.largest_batch, len(ids))
                self._batcher.on_frame(frame)
            case _:
                self._batcher.on_frame(frame)

    async def _wait_until_ended(self, worker: WorkerProcess) -> None:
        exiting = asyncio.create_task(worker.wait_exit())
        watch = asyncio.create_task(self._watch_health(worker))
        replacing = asyncio.create_task(self._replacing.wait())
        try:
            await asyncio.wait([exiting, replacing], return_when=asyncio.FIRST_COMPLETED)
            if not exiting.done():
                await self._finish_runs(worker, exiting)
        finally:
            for task in (exiting, watch, replacing):
                task.cancel()
            await asyncio.wait([exiting, watch, replacing])
        ended = exiting.result()
        self.is_ready = False
        self._observer.on_instance_changed()
        self._worker = None
        if not self._replacing.is_set():
            self._log.warning("worker died", pid=worker.pid, reason=ended.reason, killed_by_us=ended.killed_by_us)
        self._batcher.detach(WorkerDeath(ended.reason, ended.killed_by_us))
        self._remove_home()

    async def _finish_runs(self, worker: WorkerProcess, exiting: asyncio.Task[ProcessExit]) -> None:
        """Let a worker that is to be replaced finish what it has, then end it."""
        done = asyncio.create_task(self._batcher.wait_until_empty())
        await asyncio.wait([exiting, done], return_when=asyncio.FIRST_COMPLETED)
        done.cancel()
        await asyncio.wait([done])
        worker.kill()
        await asyncio.wait([exiting])

    async def _watch_health(self, worker: WorkerProcess) -> None:
        if self._has_healthcheck:
            await healthcheck.watch_health(
                worker, lambda: self._batcher.is_quiet, while_running=self._checks_while_running
            )

    async def _drain(self, timeout: float, stop_waiting: asyncio.Event) -> None:
        """Wait for the jobs in hand to end, unless the connection is lost: nobody could receive their results."""
        ending = asyncio.ensure_future(asyncio.wait(self._jobs.tasks))
        stopping = asyncio.ensure_future(stop_waiting.wait())
        lost = self._context.connection.closed
        try:
            await asyncio.wait([ending, stopping, lost], timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ending.cancel()
            stopping.cancel()

    async def _stop_taking_jobs(self) -> None:
        """Take no more jobs, return those not started, and wait for the others."""
        self.is_ready = False
        self._observer.on_instance_changed()
        if self._pulling is not None:
            self._pulling.cancel()
            await asyncio.wait([self._pulling])
            self._pulling = None
        await self.queue.close()
        self._jobs.requeue_all(is_spared=self._batcher.is_in_worker)
        if self._jobs.tasks:
            await asyncio.wait(self._jobs.tasks)

    async def _move(self, *, parked: bool) -> bool:
        worker = self._worker
        if worker is None:
            return False
        moved = await worker.set_parked(parked, MOVE_SECONDS)
        if moved is None or moved.parked != parked:
            reason = "it gave no answer" if moved is None else moved.error
            event = "a worker could not be parked" if parked else "a worker could not be unparked"
            self._log.warning(event, pid=worker.pid, reason=reason)
            worker.kill()
            return False
        self._log.info("parked" if parked else "unparked", pid=worker.pid, seconds=round(moved.seconds, 3))
        self.used_at = time.monotonic()
        return True

    def _remove_home(self) -> None:
        home, self._home = self._home, None
        if home is not None:
            task = asyncio.create_task(home.remove(after=self._jobs.tasks))
            self._removals.add(task)
            task.add_done_callback(self._removals.discard)

    async def _refuse_jobs(self, failure: SetupFailed, seconds: float) -> None:
        """Answer jobs with the reason of a failed setup for so many seconds."""
        self._log.error("a model cannot be set up", reason=str(failure))
        self._setup_failure = failure
        self._observer.on_instance_changed()
        self._batcher.fail_all(str(failure), failure.log)
        self._take_jobs()
        await asyncio.sleep(seconds)

    async def _end_worker(self) -> None:
        worker, self._worker = self._worker, None
        if worker is None:
            return
        self._batcher.stop_all()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._batcher.wait_until_empty()
        except TimeoutError:
            worker.kill()
        await worker.shut_down()

    def _take_jobs(self) -> None:
        if self._setup_failure is None:
            self.is_ready, self.ready_at = True, time.monotonic()
            self._observer.on_instance_changed()
        if self._pulling is None:
            self._pulling = asyncio.create_task(self.queue.run())

    def _credit(self) -> int:
        return REFUSAL_CREDIT if self._setup_failure is not None else self._batcher.credit

    def _receive(self, delivery: Delivery) -> None:
        self._jobs.start(self.queue, delivery)

    def _create_run(self, delivery: Delivery, job: Job) -> JobRun:
        return JobRun(self._job_context, self._batcher, delivery, job)

    async def _run_job(self, run: JobRun) -> None:
        if self._setup_failure is None:
            await run.run()
        else:
            await run.fail(str(self._setup_failure), self._setup_failure.log)

    async def _wait_stopped(self, id: str) -> None:
        """Wait until the worker that has a job is gone: returned before that, the job would run twice at once."""
        if self._batcher.is_in_worker(id):
            await self._worker_gone.wait()


def _restart_seconds(idle_deaths: int) -> float:
    """Return the pause before the next worker.

    One death may be a job's fault or a cancel; several workers in a row that did nothing are a reason to slow down.
    """
    return min(MAX_RESTART_SECONDS, 0.25 * 2 ** (idle_deaths - 3)) if idle_deaths > 2 else 0
