"""Trainings: the `train` of a version runs once, in a worker of its own, and the weights that it returns are kept."""

import asyncio

import structlog
from msgspec import DecodeError, structs

from runners.broker.connection import Link
from runners.broker.job_queue import Delivery, Inbox
from runners.broker.streams import Streams
from runners.builds.trainer import Room, Trainer
from runners.errors import BadPack, FileStoreError
from runners.jobs.job_run import Agent, Life
from runners.jobs.jobs_in_hand import Lives
from runners.settings import Settings
from runners.versions.resolver import Library
from schemas import subjects
from schemas.jobs import Job, decode_job

log = structlog.stdlib.get_logger()

NOT_HERE = 1.0  # seconds until a job comes again that this host cannot do, and another may


class Trainings:
    """Takes trainings, one at a time: how many run beside predictions is how many agents take them."""

    def __init__(
        self, library: Library, room: Room, settings: Settings, agent: Agent, link: Link, streams: Streams
    ) -> None:
        self._library = library
        self._room = room
        self._settings = settings
        self._agent = structs.replace(agent, run_limit=settings.train_limit, kept=settings.events_age / 2)
        self._lives = Lives(self._agent, self._born, live=self._live)
        self._trainers: dict[Life, Trainer] = {}
        self._arriving: set[asyncio.Task[None]] = set()
        self.inbox = Inbox(
            link,
            streams,
            name=subjects.trainers(settings.pool),
            filter=subjects.trainings(settings.pool),
            ack_wait=settings.ack_wait,
            credit=lambda: 1,
            receive=self._receive,
        )

    async def keep(self) -> None:
        await self.inbox.keep()

    async def close(self) -> None:
        """Give back what is being trained: another agent begins it anew."""
        await self.inbox.close()
        await _all(self._arriving)
        await _all(self._lives.give_up())

    def _receive(self, delivery: Delivery) -> None:
        task = asyncio.get_running_loop().create_task(self._arrived(delivery))
        self._arriving.add(task)
        task.add_done_callback(self._arriving.discard)

    async def _arrived(self, delivery: Delivery) -> None:
        """What this host has no folder for is for another."""
        try:
            here = await self._library.has(decode_job(delivery.data).version)
        except (FileStoreError, BadPack) as error:
            log.warning("a training is left to another runner", reason=str(error))
            here = False
        except (DecodeError, UnicodeDecodeError):
            here = True  # whoever takes it says what is wrong with it
        if here:
            self._lives.begin(self.inbox, delivery)
        else:
            await delivery.give_back(later=NOT_HERE)

    def _born(self, delivery: Delivery, job: Job) -> Life:
        trainer = Trainer(self._library, self._room, self._settings, job.version)
        life = Life(self._agent, trainer, delivery, job, kind="train")
        self._trainers[life] = trainer
        return life

    async def _live(self, life: Life) -> None:
        """Its files stay until they are in the file store."""
        trainer = self._trainers.pop(life)
        try:
            await life.live()
        finally:
            await trainer.close()


async def _all(tasks: "set[asyncio.Task[None]] | list[asyncio.Task[None]]") -> None:
    if tasks:
        await asyncio.wait(tasks)
