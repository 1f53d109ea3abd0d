"""A version while it is warm: one worker after another, and the jobs in hand."""

import asyncio
import shutil
import time
from collections.abc import Callable
from typing import Final

import structlog

from runners import health, instance, temporary
from runners.batcher import Batcher
from runners.calls import Death
from runners.errors import SetupFailed
from runners.inbox import Delivery, Inbox
from runners.instance import Instance
from runners.life import Agent, Life
from runners.link import Link
from runners.lives import Lives
from runners.offers import Model
from runners.settings import Settings
from runners.streams import Streams
from schemas import subjects
from schemas.jobs import Job

log = structlog.stdlib.get_logger()

STEADY: Final = 30.0  # seconds of life after which a worker's death is no pattern
LONGEST_PAUSE: Final = 30.0
STOP_WITHIN: Final = 0.5
REFUSING: Final = 64  # jobs in hand while a version cannot be set up


class Warm:
    """Owns the worker, the consumer's inbox and the lives of one version's jobs."""

    def __init__(
        self,
        model: Model,
        settings: Settings,
        agent: Agent,
        link: Link,
        streams: Streams,
        changed: Callable[[], None],
    ) -> None:
        self._model = model
        self._settings = settings
        self._agent = agent
        self._link = link
        self._changed = changed
        self._log = log.bind(model=model.name, version=model.offer.version[:12])
        self._batcher = Batcher(grace=settings.cancel_grace)
        self._instance: Instance | None = None
        self._home: str | None = None
        """Where the worker keeps the files of its runs."""
        self._clearing: set[asyncio.Task[None]] = set()
        self._lives = Lives(agent, self._born, live=self._live, held=self._until_stopped)
        self._failure: SetupFailed | None = None
        self._gone = asyncio.Event()
        version = model.offer.version
        self.inbox = Inbox(
            link,
            streams,
            name=subjects.consumer(settings.pool, version),
            filter=subjects.jobs_of(settings.pool, model.name, version),
            ack_wait=settings.ack_wait,
            credit=self._credit,
            receive=self._receive,
        )
        self._pulling: asyncio.Task[None] | None = None
        self._watched = self._beside = False
        self.ready = False

    async def keep(self, pause: float) -> bool:
        """Load it and keep a worker alive until nobody needs it. False: it cannot be set up.

        Jobs that come within `pause` seconds after a failed set-up are answered with its reason.
        """
        deaths = 0
        while True:
            born = time.monotonic()
            try:
                worker = await self._load()
            except SetupFailed as failure:
                await self._refuse(failure, pause)
                return False
            if not await self._until_dead(worker):
                return True
            useful = self._batcher.done_at > born or time.monotonic() - born > STEADY
            deaths = 0 if useful else deaths + 1
            # One death may be a job's fault or a cancel; several that did nothing are a reason to go slow.
            await asyncio.sleep(min(LONGEST_PAUSE, 0.25 * 2 ** (deaths - 3)) if deaths > 2 else 0)

    async def close(self, drain: float) -> None:
        """Take no more, give back what has not begun, let the rest run for a while; then end the worker."""
        await self.inbox.close()
        self._lives.give_up(unless=self._batcher.sent)
        if drain and self._lives.tasks:
            await self._drained(drain)
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

    async def _drained(self, within: float) -> None:
        """Let what runs come to its end, unless nobody could hear of it."""
        ending = asyncio.ensure_future(asyncio.wait(self._lives.tasks))
        try:
            await asyncio.wait([ending, self._link.lost], timeout=within, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ending.cancel()

    async def _load(self) -> Instance:
        self._log.info("loading")
        self._home = temporary.worker()
        worker: Instance | None = None
        try:
            worker = await instance.start(self._model.program, self._batcher.heard, home=self._home)
            ready = await worker.ready(self._settings.setup_limit)
        except BaseException:
            if worker is not None:
                worker.kill()
                await worker.end()
            self._clear()
            raise
        self._instance = worker
        self._log.info("loaded", pid=worker.pid, seconds=round(ready.seconds, 3))
        self._batcher.attach(
            worker,
            size=ready.max_batch_size,
            window=ready.max_batch_wait_ms / 1000,
            slots=ready.concurrency,
            batch_by=ready.batch_by,
        )
        self._watched = ready.healthcheck
        self._beside = ready.concurrency > 1
        self.ready = True
        self._changed()
        self._pull()
        return worker

    async def _until_dead(self, worker: Instance) -> bool:
        """False: it has been idle for so long that it may go."""
        ending = asyncio.create_task(worker.ended())
        watch = asyncio.create_task(self._watch(worker))
        try:
            while not ending.done():
                await asyncio.wait([ending], timeout=self._settings.idle_timeout or None)
                if not ending.done() and self._idle:
                    self._log.info("evicted")
                    return False
        finally:
            for task in (ending, watch):
                task.cancel()
            await asyncio.wait([ending, watch])
        ended = ending.result()
        self.ready = False
        self._changed()
        self._instance = None
        self._log.warning("worker died", pid=worker.pid, reason=ended.reason, killed_by_us=ended.ours)
        self._batcher.detach(Death(ended.reason, ended.ours))
        self._clear()
        return True

    async def _watch(self, worker: Instance) -> None:
        if self._watched:
            await health.watch(worker, lambda: self._batcher.quiet, beside=self._beside)

    def _clear(self) -> None:
        """Remove what a worker left. Outputs may still be on their way out of there."""
        home, self._home = self._home, None
        if home is not None:
            task = asyncio.create_task(_cleared(home, self._lives.tasks))
            self._clearing.add(task)
            task.add_done_callback(self._clearing.discard)

    async def _refuse(self, failure: SetupFailed, pause: float) -> None:
        self._log.error("cannot be set up", reason=str(failure))
        self._failure = failure
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

    @property
    def _idle(self) -> bool:
        quiet = time.monotonic() - self._batcher.done_at
        return not self._lives and self._batcher.idle and quiet >= self._settings.idle_timeout

    def _pull(self) -> None:
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


async def _cleared(home: str, lives: list[asyncio.Task[None]]) -> None:
    if lives:
        await asyncio.wait(lives)
    await asyncio.to_thread(shutil.rmtree, home, ignore_errors=True)
