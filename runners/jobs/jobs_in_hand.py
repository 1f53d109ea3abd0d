"""The jobs that an inbox has delivered: one life each."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated

import structlog
from msgspec import DecodeError, Meta, Struct, json

from runners.broker.job_queue import Delivery, Inbox
from runners.errors import RunnerError
from runners.jobs.job_run import Agent, Life, now
from schemas.events import Failed
from schemas.jobs import Job, decode_job

log = structlog.stdlib.get_logger()


class Named(Struct, frozen=True):
    id: Annotated[str, Meta(pattern="^[A-Za-z0-9_-]+$")]
    """It becomes a part of a subject."""


class Lives:
    """`born` makes a life of a job, `live` lives it; `held` returns once a job that was given up may be given back.

    `idle` hears that the last of them has ended.
    """

    def __init__(
        self,
        agent: Agent,
        born: Callable[[Delivery, Job], Life],
        *,
        live: Callable[[Life], Awaitable[None]] = Life.live,
        held: Callable[[str], Awaitable[None]] | None = None,
        idle: Callable[[], None] = lambda: None,
    ) -> None:
        self._agent = agent
        self._born = born
        self._live = live
        self._held = held
        self._idle = idle
        self._lives: dict[str, Life] = {}
        self._tasks: dict[asyncio.Task[None], str] = {}

    def __len__(self) -> int:
        return len(self._lives)

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        return list(self._tasks)

    def begin(self, inbox: Inbox, delivery: Delivery) -> None:
        try:
            job = decode_job(delivery.data)
        except (DecodeError, UnicodeDecodeError) as error:
            self._spawn("", self._reject(delivery, str(error)))
            return
        life = self._lives.get(job.id)
        if life is not None and life.adopt(delivery, job):
            return
        self._lives[job.id] = life = self._born(delivery, job)
        self._spawn(job.id, self._see(job.id, life, inbox, delivery))

    def give_up(self, unless: Callable[[str], bool] = lambda _: False) -> list[asyncio.Task[None]]:
        """What is in hand goes back, but for those whose id is spared; the tasks end once it has."""
        given_up = [task for task, id in self._tasks.items() if not unless(id)]
        for task in given_up:
            task.cancel()
        return given_up

    async def _see(self, id: str, life: Life, inbox: Inbox, delivery: Delivery) -> None:
        """A life until its end. A fault of ours leaves the job to whoever gets it next."""
        try:
            await self._live(life)
        except asyncio.CancelledError:
            if self._held is not None:
                await self._held(id)
            await delivery.give_back()
        except RunnerError as error:
            log.warning("a job was left to another runner", id=id, reason=str(error))
            inbox.let_go(delivery)
        except Exception:
            log.exception("a job was left to another runner", id=id)
            inbox.let_go(delivery)
        finally:
            if self._lives.get(id) is life:
                del self._lives[id]
            if not self._lives:
                self._idle()

    async def _reject(self, delivery: Delivery, reason: str) -> None:
        """A message that is no job: whose it is can perhaps be read."""
        log.error("a job that cannot be read", reason=reason)
        try:
            id = json.decode(delivery.data, type=Named).id
            error = f"the job could not be read by its runner: {reason}"
            await self._agent.reporter.end(Failed(id=id, run=None, at=now(), error=error))
        except (DecodeError, UnicodeDecodeError):
            pass
        finally:
            await delivery.refuse()

    def _spawn(self, id: str, life: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(life)
        self._tasks[task] = id
        task.add_done_callback(self._tasks.pop)
