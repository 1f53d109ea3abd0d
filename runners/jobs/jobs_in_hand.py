"""The jobs that an agent has in hand, each with its run."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated

import structlog
from msgspec import DecodeError, Meta, Struct, json

from runners.broker.job_queue import Delivery, JobQueue
from runners.errors import RunnerError
from runners.jobs.job_run import JobContext, JobRun, now
from schemas.events import Failed
from schemas.jobs import Job, decode_job

log = structlog.stdlib.get_logger()


class JobId(Struct, frozen=True):
    """The id of a job that cannot be read otherwise."""

    id: Annotated[str, Meta(pattern="^[A-Za-z0-9_-]+$")]
    """It becomes a part of a subject."""


class JobsInHand:
    """The jobs that a job queue has delivered, for an instance, for builds or for trainings.

    It owns a task for each job. `create_run` makes the run of a job, and `run` awaits its end. When a task is canceled,
    `wait_to_requeue` returns once the job may go back to the queue. `on_idle` is called when the last job has ended.
    """

    def __init__(
        self,
        context: JobContext,
        create_run: Callable[[Delivery, Job], JobRun],
        *,
        run: Callable[[JobRun], Awaitable[None]] = JobRun.run,
        wait_to_requeue: Callable[[str], Awaitable[None]] | None = None,
        on_idle: Callable[[], None] = lambda: None,
    ) -> None:
        self._context = context
        self._create_run = create_run
        self._run = run
        self._wait_to_requeue = wait_to_requeue
        self._on_idle = on_idle
        self._runs: dict[str, JobRun] = {}
        self._tasks: dict[asyncio.Task[None], str] = {}

    def __len__(self) -> int:
        return len(self._runs)

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """The tasks of all jobs in hand."""
        return list(self._tasks)

    def start(self, queue: JobQueue, delivery: Delivery) -> None:
        """Start a job, unless the delivery is a repeated one of a job in hand."""
        try:
            job = decode_job(delivery.data)
        except (DecodeError, UnicodeDecodeError) as error:
            self._spawn("", self._reject(delivery, str(error)))
            return
        run = self._runs.get(job.id)
        if run is not None and run.merge(delivery, job):
            return
        self._runs[job.id] = run = self._create_run(delivery, job)
        self._spawn(job.id, self._run_job(job.id, run, queue, delivery))

    def requeue_all(self, is_spared: Callable[[str], bool] = lambda _: False) -> list[asyncio.Task[None]]:
        """Requeue all jobs whose id is not spared. Returns their tasks, which end once that is done."""
        tasks = [task for task, id in self._tasks.items() if not is_spared(id)]
        for task in tasks:
            task.cancel()
        return tasks

    async def _run_job(self, id: str, run: JobRun, queue: JobQueue, delivery: Delivery) -> None:
        """Run a job to its end. After an error of the agent, JetStream delivers it to another agent."""
        try:
            await self._run(run)
        except asyncio.CancelledError:
            if self._wait_to_requeue is not None:
                await self._wait_to_requeue(id)
            await delivery.requeue()
        except RunnerError as error:
            log.warning("a job was left to another runner", id=id, reason=str(error))
            queue.drop(delivery)
        except Exception:
            log.exception("a job was left to another runner", id=id)
            queue.drop(delivery)
        finally:
            if self._runs.get(id) is run:
                del self._runs[id]
            if not self._runs:
                self._on_idle()

    async def _reject(self, delivery: Delivery, reason: str) -> None:
        """Terminate a message that is no job, and fail its prediction if at least its id can be read."""
        log.error("cannot read a job", reason=reason)
        try:
            id = json.decode(delivery.data, type=JobId).id
            error = f"the runner cannot read the job: {reason}"
            await self._context.events.publish_final(Failed(id=id, run=None, at=now(), error=error))
        except (DecodeError, UnicodeDecodeError):
            pass
        finally:
            await delivery.terminate()

    def _spawn(self, id: str, coroutine: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks[task] = id
        task.add_done_callback(self._tasks.pop)
