"""An instance of a version: one worker after another, and the jobs in hand."""

import asyncio
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog
from msgspec import Struct

from runners import units
from runners.batching.batcher import Batcher
from runners.batching.call import Death
from runners.broker.connection import Link
from runners.broker.job_queue import Delivery, Inbox
from runners.broker.streams import Streams
from runners.errors import Outgrown, SetupFailed
from runners.jobs.job_run import Agent, Life
from runners.jobs.jobs_in_hand import Lives
from runners.placement.limits import Given
from runners.placement.memory_profiles import Needs
from runners.process import healthcheck, memory, scratch, worker_process
from runners.process.worker_process import NOTHING, Ended, Instance
from runners.settings import Settings
from runners.versions.introspection import Model
from runners.worker.frames import Began, FromWorker, Ready, Took
from schemas import subjects
from schemas.jobs import Job

log = structlog.stdlib.get_logger()

STEADY: Final = 30.0  # seconds of life after which a worker's death is no pattern
LONGEST_PAUSE: Final = 30.0
STOP_WITHIN: Final = 0.5
MOVE_WITHIN: Final = 60.0
GROWN: Final = 1.2  # times what a worker had when it was ready, and a few more bytes
FEW: Final = 32_000_000
OFFLOAD: Final = "offload"
REFUSING: Final = 64  # jobs in hand while a version cannot be set up


class Shared(Struct, frozen=True, kw_only=True):
    """What all instances of an agent have in common."""

    settings: Settings
    agent: Agent
    link: Link
    streams: Streams
    needs: Needs
    changed: Callable[[], None]
    """Something became warm, or is so no more."""
    idle: Callable[[], None]
    """An instance has nothing more to do."""
    replaced: Callable[[], None]
    """A worker is replaced."""
    grew: Callable[[], None]
    """A worker has more memory than before."""


class Warm:
    """Owns the worker, the consumer's inbox and the lives of its jobs."""

    def __init__(self, model: Model, shared: Shared, pool: str | None = None) -> None:
        """`pool` is that of a release whose jobs it takes; None: it takes those of the agent's own pool."""
        self.model = model
        self._shared = shared
        self._settings = settings = shared.settings
        self._agent = shared.agent
        self._changed = shared.changed
        self._log = log.bind(model=model.name, version=model.offer.version[:12])
        self._batcher = Batcher(grace=settings.cancel_grace, on_fits=self._remember, on_short=self._renew)
        self._instance: Instance | None = None
        self._home: str | None = None
        """Where the worker keeps the files of its runs."""
        self._clearing: set[asyncio.Task[None]] = set()
        self._lives = Lives(self._agent, self._born, live=self._live, held=self._until_stopped, idle=shared.idle)
        self._failure: SetupFailed | None = None
        self._gone = asyncio.Event()
        version, pool = model.offer.version, pool or settings.pool
        self.inbox = Inbox(
            shared.link,
            shared.streams,
            name=subjects.consumer(pool, version),
            filter=subjects.jobs_of(pool, model.name, version),
            ack_wait=settings.ack_wait,
            credit=self._credit,
            receive=self._receive,
        )
        self._pulling: asyncio.Task[None] | None = None
        self._watched = self._beside = False
        self._tired = asyncio.Event()
        self._given: Callable[[Path], Given] = lambda _: NOTHING
        self.ready = False
        """It takes jobs."""
        self.ready_at = 0.0
        """Since when, as `time.monotonic` counts."""
        self.parked = False
        self.parkable = False
        self.device_bytes = 0
        self._ready_bytes = 0
        self.largest = 0
        """Jobs that ran together, at most."""
        self.load_seconds = 0.0
        self.used_at = time.monotonic()

    async def keep(self, pause: float, given: Callable[[Path], Given]) -> bool:
        """Load it and keep a worker alive, until one dies while it is parked. False: it cannot be set up.

        Jobs that come within `pause` seconds after a failed set-up are answered with its reason. `given` says what
        a worker gets that may put weights into a folder.
        """
        self._given = given
        deaths = 0
        while True:
            born = time.monotonic()
            try:
                worker = await self._load()
            except SetupFailed as failure:
                if failure.out_of_memory and not self._shared.needs.of(self.model.offer.version).whole:
                    raise Outgrown(str(failure)) from failure
                await self._refuse(failure, pause)
                return False
            await self._until_dead(worker)
            if self.parked:
                return True
            useful = self._batcher.done_at > born or time.monotonic() - born > STEADY
            deaths = 0 if useful else deaths + 1
            # One death may be a job's fault or a cancel; several that did nothing are a reason to go slow.
            await asyncio.sleep(min(LONGEST_PAUSE, 0.25 * 2 ** (deaths - 3)) if deaths > 2 else 0)

    async def close(self, drain: float, hurry: asyncio.Event) -> None:
        """Take no more, give back what has not begun, let the rest run for a while; then end the worker."""
        self.ready = False
        await self.inbox.close()
        self._lives.give_up(unless=self._batcher.sent)
        if drain and self._lives.tasks:
            await self._drained(drain, hurry)
        unfinished = self._lives.give_up()
        await asyncio.sleep(0)
        await self._end_worker()
        self._gone.set()
        if unfinished:
            self._log.info("gave work back", jobs=len(unfinished))
            await asyncio.wait(unfinished)
        if self._pulling is not None:
            self._pulling.cancel()
            await asyncio.wait([self._pulling])
        self._clear()
        if self._clearing:
            await asyncio.wait(self._clearing)

    async def _drained(self, within: float, hurry: asyncio.Event) -> None:
        """Let what runs come to its end, unless nobody could hear of it."""
        ending = asyncio.ensure_future(asyncio.wait(self._lives.tasks))
        hurried = asyncio.ensure_future(hurry.wait())
        lost = self._shared.link.lost
        try:
            await asyncio.wait([ending, hurried, lost], timeout=within, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ending.cancel()
            hurried.cancel()

    async def park(self) -> bool:
        """Take no more jobs, and leave the device; what has begun comes to its end before. False: it would not."""
        await self._hush()
        self.parked = True
        return await self._move(parked=True)

    async def unpark(self) -> bool:
        """Back on the device, and to work. False: it died of it, or would not."""
        self.parked = False
        moved = await self._move(parked=False)
        if moved:
            self._pull()
        return moved

    def replace(self, reason: str) -> None:
        """Have another worker in its place, once it has finished what it has."""
        if self._instance is not None and not self._tired.is_set():
            self._log.warning("a worker is replaced", pid=self._instance.pid, reason=reason)
            self._batcher.rest()
            self._tired.set()
            self._shared.replaced()

    def kill(self, reason: str) -> None:
        """Have another worker in its place at once; what it had runs again."""
        if self._instance is not None:
            self._log.warning("a worker is killed", pid=self._instance.pid, reason=reason)
            self._instance.kill()

    @property
    def pid(self) -> int | None:
        return self._instance.pid if self._instance is not None else None

    @property
    def busy(self) -> bool:
        return bool(self._lives) or not self._batcher.idle

    @property
    def running(self) -> int:
        return len(self._lives)

    @property
    def waiting(self) -> int:
        """Jobs in the queue, as far as we have heard. While nothing is in hand there are none."""
        return self.inbox.pending if self._lives else 0

    @property
    def backlog(self) -> float:
        """Seconds that it would take to work the queue off."""
        return self._batcher.seconds(self.waiting)

    @property
    def failure(self) -> str | None:
        return str(self._failure) if self._failure is not None else None

    @property
    def idle_for(self) -> float:
        return 0.0 if self.busy else time.monotonic() - max(self._batcher.done_at, self.used_at)

    async def _load(self) -> Instance:
        self._log.info("loading")
        self._shared.grew()
        self._home = scratch.worker()
        offload, began = self._offload(self._home), time.monotonic()
        worker: Instance | None = None
        try:
            program = self.model.program
            worker = await worker_process.start(program, self._heard, home=self._home, given=self._given(offload))
            ready = await worker.ready(self._settings.setup_limit)
        except BaseException:
            if worker is not None:
                worker.kill()
                await worker.end()
            self._clear()
            raise
        self._instance = worker
        self.load_seconds = time.monotonic() - began
        self._log.info("loaded", pid=worker.pid, seconds=round(ready.seconds, 3), placed=ready.placed or None)
        self._attach(worker, ready)
        self._pull()
        return worker

    def _attach(self, worker: Instance, ready: Ready) -> None:
        measured = self._shared.needs.of(self.model.offer.version)
        self._batcher.attach(
            worker,
            size=min(ready.max_batch_size, measured.fits or ready.max_batch_size),
            window=ready.max_batch_wait_ms / 1000,
            slots=ready.concurrency,
            batch_by=ready.batch_by,
        )
        self._tired.clear()
        self._watched = ready.healthcheck
        self._beside = ready.concurrency > 1
        self.parkable = ready.parkable
        self.device_bytes = ready.device_bytes
        self._ready_bytes = memory.resident([worker.pid])[worker.pid]
        self._shared.grew()
        self.used_at = time.monotonic()

    def _remember(self, size: int) -> None:
        """A larger batch than this ran out of memory."""
        self._shared.needs.learn(self.model.offer.version, fits=size)

    def _renew(self) -> bool:
        """For a run that got no memory: worth while if this worker has grown since it was ready."""
        size = memory.resident([self._instance.pid])[self._instance.pid] if self._instance is not None else 0
        grown = size > GROWN * self._ready_bytes + FEW
        if grown:
            began, now = units.said(self._ready_bytes), units.said(size)
            self.replace(f"a run got no memory in it; it has grown from {began} to {now}")
        return grown

    def _heard(self, frame: FromWorker) -> None:
        match frame:
            case Took(device_bytes=size):
                self.device_bytes = max(self.device_bytes, size)
                self._shared.grew()
            case Began(ids=ids):
                self.largest = max(self.largest, len(ids))
                self._batcher.heard(frame)
            case _:
                self._batcher.heard(frame)

    async def _until_dead(self, worker: Instance) -> None:
        ending = asyncio.create_task(worker.ended())
        watch = asyncio.create_task(self._watch(worker))
        tired = asyncio.create_task(self._tired.wait())
        try:
            await asyncio.wait([ending, tired], return_when=asyncio.FIRST_COMPLETED)
            if not ending.done():
                await self._finished(worker, ending)
        finally:
            for task in (ending, watch, tired):
                task.cancel()
            await asyncio.wait([ending, watch, tired])
        ended = ending.result()
        self.ready = False
        self._changed()
        self._instance = None
        if not self._tired.is_set():
            self._log.warning("worker died", pid=worker.pid, reason=ended.reason, killed_by_us=ended.ours)
        self._batcher.detach(Death(ended.reason, ended.ours))
        self._clear()

    async def _finished(self, worker: Instance, ending: asyncio.Task[Ended]) -> None:
        """It is to be replaced: let what it has come to its end."""
        done = asyncio.create_task(self._batcher.empty())
        await asyncio.wait([ending, done], return_when=asyncio.FIRST_COMPLETED)
        done.cancel()
        await asyncio.wait([done])
        worker.kill()
        await asyncio.wait([ending])

    async def _move(self, *, parked: bool) -> bool:
        worker = self._instance
        if worker is None:
            return False
        moved = await worker.park(parked, MOVE_WITHIN)
        word = "parked" if parked else "unparked"
        if moved is None or moved.parked != parked:
            reason = "it gave no answer" if moved is None else moved.error
            self._log.warning(f"would not be {word}", pid=worker.pid, reason=reason)
            worker.kill()
            return False
        self._log.info(word, pid=worker.pid, seconds=round(moved.seconds, 3))
        self.used_at = time.monotonic()
        return True

    async def _hush(self) -> None:
        """Take no more; who has not begun goes back, who has comes to its end."""
        self.ready = False
        self._changed()
        if self._pulling is not None:
            self._pulling.cancel()
            await asyncio.wait([self._pulling])
            self._pulling = None
        await self.inbox.close()
        self._lives.give_up(unless=self._batcher.sent)
        if self._lives.tasks:
            await asyncio.wait(self._lives.tasks)

    async def _watch(self, worker: Instance) -> None:
        if self._watched:
            await healthcheck.watch(worker, lambda: self._batcher.quiet, beside=self._beside)

    def _clear(self) -> None:
        """Remove what a worker left. Outputs may still be on their way out of there."""
        home, self._home = self._home, None
        if home is not None:
            task = asyncio.create_task(_cleared([home, str(self._offload(home))], self._lives.tasks))
            self._clearing.add(task)
            task.add_done_callback(self._clearing.discard)

    def _offload(self, home: str) -> Path:
        """Not in memory, as the folder for temporary files may be."""
        return Path(self._settings.cache_dir) / OFFLOAD / Path(home).name

    async def _refuse(self, failure: SetupFailed, pause: float) -> None:
        self._log.error("cannot be set up", reason=str(failure))
        self._failure = failure
        self._changed()
        self._batcher.fail_all(str(failure), failure.log)
        self._pull()
        await asyncio.sleep(pause)

    async def _end_worker(self) -> None:
        worker, self._instance = self._instance, None
        if worker is None:
            return
        self._batcher.stop_all()
        try:
            async with asyncio.timeout(STOP_WITHIN):
                await self._batcher.empty()
        except TimeoutError:
            worker.kill()
        await worker.end()

    def _pull(self) -> None:
        if self._failure is None:
            self.ready, self.ready_at = True, time.monotonic()
            self._changed()
        if self._pulling is None:
            self._pulling = asyncio.create_task(self.inbox.keep())

    def _credit(self) -> int:
        return REFUSING if self._failure is not None else self._batcher.credit

    def _receive(self, delivery: Delivery) -> None:
        self._lives.begin(self.inbox, delivery)

    def _born(self, delivery: Delivery, job: Job) -> Life:
        return Life(self._agent, self._batcher, delivery, job)

    async def _live(self, life: Life) -> None:
        if self._failure is None:
            await life.live()
        else:
            await life.fail(str(self._failure), self._failure.log)

    async def _until_stopped(self, id: str) -> None:
        """What a worker has goes back once that worker is gone, or it would run twice at once."""
        if self._batcher.sent(id):
            await self._gone.wait()


async def _cleared(folders: list[str], lives: list[asyncio.Task[None]]) -> None:
    if lives:
        await asyncio.wait(lives)
    for folder in folders:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
