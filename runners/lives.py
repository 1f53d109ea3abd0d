"""The jobs that an inbox has delivered: one life each."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Annotated

import structlog
from msgspec import DecodeError, Meta, Struct, json

from runners.errors import RunnerError
from runners.inbox import Delivery, Inbox
from runners.life import Agent, Life, now
from schemas.events import Failed
from schemas.jobs import Job, decode_job

log = structlog.stdlib.get_logger()


class Named(Struct, frozen=True):
    id: Annotated[str, Meta(pattern="^[A-Za-z0-9_-]+$")]
    """It becomes a part of a subject."""


class Lives:
    def __init__(self, agent: Agent, born: Callable[[Delivery, Job], Life]) -> None:
        self._agent = agent
        self._born = born
        self._lives: dict[str, Life] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, inbox: Inbox, delivery: Delivery) -> None:
        try:
            job = decode_job(delivery.data)
        except (DecodeError, UnicodeDecodeError) as error:
            self._spawn(self._reject(delivery, str(error)))
            return
        life = self._lives.get(job.id)
        if life is not None and life.adopt(delivery, job):
            return
        self._lives[job.id] = life = self._born(delivery, job)
        self._spawn(self._see(job.id, life, inbox, delivery))

    async def close(self) -> None:
        """Give back what is in hand."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _see(self, id: str, life: Life, inbox: Inbox, delivery: Delivery) -> None:
        """A life until its end. A fault of ours leaves the job to whoever gets it next."""
        try:
            await life.live()
        except asyncio.CancelledError:
            await delivery.give_back()
        except RunnerError as error:
            log.warning("a job was left to another runner", id=id, reason=str(error))
            await inbox.let_go(delivery)
        except Exception:
            log.exception("a job was left to another runner", id=id)
            await inbox.let_go(delivery)
        finally:
            if self._lives.get(id) is life:
                del self._lives[id]

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

    def _spawn(self, life: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(life)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
