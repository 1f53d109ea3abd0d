"""Build jobs: pushed versions that this agent builds."""

import asyncio
import time
from typing import Any

import structlog
from msgspec import json, structs

from runners.batching.call import Call, StopRequest, done_without_worker
from runners.broker.connection import Connection
from runners.broker.job_queue import Delivery, JobQueue
from runners.broker.streams import Streams
from runners.builds.build import Build
from runners.builds.slots import SlotLender
from runners.errors import RunnerError, UnusableModel
from runners.jobs.job_run import JobContext, JobRun
from runners.jobs.jobs_in_hand import JobsInHand
from runners.settings import Settings
from runners.versions.pushed import PushedVersions
from runners.worker.frames import Done
from schemas import subjects
from schemas.jobs import Job

log = structlog.stdlib.get_logger()


class BuildJobs:
    """The builds of this agent, one at a time.

    It owns their queue and the job in hand.
    """

    def __init__(
        self,
        pushed: PushedVersions,
        slots: SlotLender,
        settings: Settings,
        context: JobContext,
        connection: Connection,
        streams: Streams,
    ) -> None:
        self._runner = BuildRunner(pushed, slots, settings)
        # The stages have limits of their own; this one is for what comes between.
        limit = settings.build_limit + settings.setup_limit + settings.run_limit
        self._context = structs.replace(context, run_limit=limit)
        self._jobs = JobsInHand(self._context, self._create_run)
        self.queue = JobQueue(
            connection,
            streams,
            name=subjects.build_consumer(settings.pool),
            filter=subjects.builds(settings.pool),
            ack_wait=settings.ack_wait,
            credit=lambda: 1,
            on_delivery=self._receive,
        )

    async def run(self) -> None:
        """Take builds until canceled."""
        await self.queue.run()

    async def close(self) -> None:
        """Return the build in hand to the queue: another agent starts it again."""
        await self.queue.close()
        if unfinished := self._jobs.requeue_all():
            await asyncio.wait(unfinished)
        await self._runner.close()

    def _create_run(self, delivery: Delivery, job: Job) -> JobRun:
        return JobRun(self._context, self._runner, delivery, job, kind="build")

    def _receive(self, delivery: Delivery) -> None:
        self._jobs.start(self.queue, delivery)


class BuildRunner:
    """The runner of builds, in place of the batcher and worker of predictions; a call's input is a version's id."""

    def __init__(self, pushed: PushedVersions, slots: SlotLender, settings: Settings) -> None:
        self._pushed = pushed
        self._slots = slots
        self._settings = settings
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def put(self, call: Call) -> None:
        """Start a build."""
        task = asyncio.get_running_loop().create_task(self._run(call))
        self._tasks[call.id] = task
        task.add_done_callback(lambda _: self._tasks.pop(call.id, None))

    def stop(self, call: Call, request: StopRequest) -> None:
        """Cancel a build."""
        if call.outcome is None and call.stop_request is None:
            call.stop_request = request
            if (task := self._tasks.get(call.id)) is not None:
                task.cancel()

    def abandon(self, call: Call) -> None:
        """Cancel a build whose result nobody reads."""
        call.is_abandoned = True
        self.stop(call, StopRequest(None))

    def resume(self) -> None:
        """Do nothing: a build's output is never held back."""

    def replace_worker(self) -> bool:
        """Return False: a build has no worker to replace."""
        return False

    async def close(self) -> None:
        """Wait until the tools that ran have ended."""
        if tasks := list(self._tasks.values()):
            await asyncio.wait(tasks)

    async def _run(self, call: Call) -> None:
        call.start(time.time())
        build = Build(self._pushed, self._slots, self._settings, call.add_log)
        try:
            built = await build.run(call.item.input.decode())
            call.finish(_done(call, "ok", value=json.encode(built), metrics={"stage": "done"}))
        except asyncio.CancelledError:
            call.finish(done_without_worker(call, time.time()))
        except UnusableModel as error:
            location = {"file": error.file, "line": error.line} if error.file else {}
            metrics = {"stage": error.stage, **location}
            call.finish(_done(call, "failed", error=f"{error.stage}: {error}", metrics=metrics))
        except (RunnerError, OSError) as error:
            log.exception("a build failed by a fault of ours", id=call.id)
            call.finish(_done(call, "failed", error=f"{build.stage}: {error}", metrics={"stage": build.stage}))


def _done(
    call: Call, status: str, *, metrics: dict[str, Any], value: bytes | None = None, error: str | None = None
) -> Done:
    return Done(
        id=call.id,
        at=time.time(),
        status=status,
        many=False,
        value=value,
        files=[],
        error=error,
        metrics=metrics,
    )
