"""Training jobs: versions whose `train` this agent runs, each in a worker of its own."""

import asyncio
from collections.abc import Collection
from typing import Final

import structlog
from msgspec import DecodeError, structs

from runners.broker.connection import Connection
from runners.broker.job_queue import Delivery, JobQueue
from runners.broker.streams import Streams
from runners.builds.slots import SlotLender
from runners.builds.trainer import Trainer
from runners.errors import BadArchive, FileStoreError
from runners.jobs.job_run import JobContext, JobRun
from runners.jobs.jobs_in_hand import JobsInHand
from runners.settings import Settings
from runners.versions.resolver import Resolver
from schemas import subjects
from schemas.jobs import Job, decode_job

log = structlog.stdlib.get_logger()

REQUEUE_SECONDS: Final = 1.0  # until a job is delivered again that this host cannot do, and another may


class TrainingJobs:
    """The trainings of this agent, one at a time: as many run beside predictions as there are agents that take them.

    It owns their queue, the job in hand and its trainer.
    """

    def __init__(
        self,
        resolver: Resolver,
        slots: SlotLender,
        settings: Settings,
        context: JobContext,
        connection: Connection,
        streams: Streams,
    ) -> None:
        self._resolver = resolver
        self._slots = slots
        self._settings = settings
        self._context = structs.replace(
            context, run_limit=settings.train_limit, event_retention=settings.events_age / 2
        )
        self._jobs = JobsInHand(self._context, self._create_run, run=self._run_job)
        self._trainers: dict[JobRun, Trainer] = {}
        self._arriving: set[asyncio.Task[None]] = set()
        self.queue = JobQueue(
            connection,
            streams,
            name=subjects.training_consumer(settings.pool),
            filter=subjects.trainings(settings.pool),
            ack_wait=settings.ack_wait,
            credit=lambda: 1,
            on_delivery=self._receive,
        )

    async def run(self) -> None:
        """Take trainings until canceled."""
        await self.queue.run()

    async def close(self) -> None:
        """Return the training in hand to the queue: another agent starts it again."""
        await self.queue.close()
        await _wait_all(self._arriving)
        await _wait_all(self._jobs.requeue_all())

    def _receive(self, delivery: Delivery) -> None:
        task = asyncio.get_running_loop().create_task(self._accept(delivery))
        self._arriving.add(task)
        task.add_done_callback(self._arriving.discard)

    async def _accept(self, delivery: Delivery) -> None:
        """Take a job, or leave it to another host if this one has no folder for it."""
        if await self._can_train(delivery):
            self._jobs.start(self.queue, delivery)
        else:
            await delivery.requeue(delay=REQUEUE_SECONDS)

    async def _can_train(self, delivery: Delivery) -> bool:
        try:
            return await self._resolver.can_resolve(decode_job(delivery.data).version)
        except (FileStoreError, BadArchive) as error:
            log.warning("a training is left to another runner", reason=str(error))
            return False
        except (DecodeError, UnicodeDecodeError):
            return True  # the job is refused with the reason once it is taken

    def _create_run(self, delivery: Delivery, job: Job) -> JobRun:
        trainer = Trainer(self._resolver, self._slots, self._settings, job.version)
        run = JobRun(self._context, trainer, delivery, job, kind="train")
        self._trainers[run] = trainer
        return run

    async def _run_job(self, run: JobRun) -> None:
        """Run a training; its files stay until they are in the file store."""
        trainer = self._trainers.pop(run)
        try:
            await run.run()
        finally:
            await trainer.close()


async def _wait_all(tasks: Collection[asyncio.Task[None]]) -> None:
    if tasks:
        await asyncio.wait(tasks)
