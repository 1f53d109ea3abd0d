"""Pushes: what was pushed is made ready and set up once, before it becomes a version."""

import asyncio
import shutil
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, ExitStack
from pathlib import Path
from typing import Any, Final, Protocol

import structlog
from msgspec import json, structs

from runners.batching.call import Call, Wish, unrun
from runners.broker.connection import Link
from runners.broker.job_queue import Delivery, Inbox
from runners.broker.streams import Streams
from runners.errors import NotOffered, RunnerError, SetupFailed, place
from runners.jobs.job_run import Agent, Life
from runners.jobs.jobs_in_hand import Lives
from runners.placement.limits import Given
from runners.placement.memory_profiles import Hints
from runners.process import memory, scratch, worker_process
from runners.settings import Settings
from runners.versions import introspection
from runners.versions.introspection import Model
from runners.versions.pushed import Pushed, fetching
from runners.worker.frames import Done, FromWorker, Ready
from schemas import subjects
from schemas.jobs import Job
from schemas.models import Built

log = structlog.stdlib.get_logger()

LONGEST_LOG: Final = 2_000_000  # characters of a push's log
LONGEST_SETUP_LOG: Final = 100_000
LARGEST_SCHEMA: Final = 400_000  # bytes; it travels in one message with the readme and the log of set-up


class Room(Protocol):
    """Where a worker that is only tried gets its memory, and what was seen of it is kept."""

    def lent(self, version: str, hints: Hints, offload: Path) -> AbstractAsyncContextManager[Given]: ...
    def learn(self, version: str, *, host: int, device: int) -> None: ...
    def enlarge(self, version: str) -> bool: ...


class Builds:
    """Takes pushes, one at a time."""

    def __init__(
        self, pushed: Pushed, room: Room, settings: Settings, agent: Agent, link: Link, streams: Streams
    ) -> None:
        self._builder = Builder(pushed, room, settings)
        # Its stages have limits of their own; this is for what comes between.
        limit = settings.build_limit + settings.setup_limit + settings.run_limit
        self._agent = structs.replace(agent, run_limit=limit)
        self._lives = Lives(self._agent, self._born)
        self.inbox = Inbox(
            link,
            streams,
            name=subjects.builders(settings.pool),
            filter=subjects.builds(settings.pool),
            ack_wait=settings.ack_wait,
            credit=lambda: 1,
            receive=self._receive,
        )

    async def keep(self) -> None:
        await self.inbox.keep()

    async def close(self) -> None:
        """Give back what is being built: another agent begins it anew."""
        await self.inbox.close()
        if given_up := self._lives.give_up():
            await asyncio.wait(given_up)
        await self._builder.close()

    def _born(self, delivery: Delivery, job: Job) -> Life:
        return Life(self._agent, self._builder, delivery, job, kind="build")

    def _receive(self, delivery: Delivery) -> None:
        self._lives.begin(self.inbox, delivery)


class Builder:
    """Does for builds what a batcher and a worker do for predictions. A call's input is its version's id."""

    def __init__(self, pushed: Pushed, room: Room, settings: Settings) -> None:
        self._pushed = pushed
        self._room = room
        self._settings = settings
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def put(self, call: Call) -> None:
        task = asyncio.get_running_loop().create_task(self._run(call))
        self._tasks[call.id] = task
        task.add_done_callback(lambda _: self._tasks.pop(call.id, None))

    def stop(self, call: Call, wish: Wish) -> None:
        if call.end is None and call.wish is None:
            call.wish = wish
            if (task := self._tasks.get(call.id)) is not None:
                task.cancel()

    def leave(self, call: Call) -> None:
        call.left = True
        self.stop(call, Wish(None))

    def relieve(self) -> None:
        return

    def renew(self) -> bool:
        return False

    async def close(self) -> None:
        """Until the tools that ran are gone."""
        if tasks := list(self._tasks.values()):
            await asyncio.wait(tasks)

    async def _run(self, call: Call) -> None:
        call.begin(time.time())
        build = Build(self._pushed, self._room, self._settings, call.say)
        try:
            built = await build.built(call.item.input.decode())
            call.finish(_done(call, "ok", value=json.encode(built), metrics={"stage": "done"}))
        except asyncio.CancelledError:
            call.finish(unrun(call, time.time()))
        except NotOffered as error:
            place = {"file": error.file, "line": error.line} if error.file else {}
            metrics = {"stage": error.stage, **place}
            call.finish(_done(call, "failed", error=f"{error.stage}: {error}", metrics=metrics))
        except (RunnerError, OSError) as error:
            log.exception("a build failed by a fault of ours", id=call.id)
            call.finish(_done(call, "failed", error=f"{build.stage}: {error}", metrics={"stage": build.stage}))


class Build:
    """One push, stage by stage."""

    def __init__(self, pushed: Pushed, room: Room, settings: Settings, say: Callable[[str], None]) -> None:
        self._pushed = pushed
        self._memory = room
        self._settings = settings
        self._say = say
        self._room = LONGEST_LOG
        self.stage = ""

    async def built(self, version: str) -> Built:
        """Raises `NotOffered`, with the stage in it."""
        with ExitStack() as held:
            try:
                return await self._built(version, held)
            except NotOffered as error:
                if error.stage != self.stage:
                    # The worker does both in one go.
                    self._enter(error.stage)
                if error.stage in ("import", "schema"):
                    self._told(_line(error.log))
                raise

    async def _built(self, version: str, held: ExitStack) -> Built:
        self._enter("fetch")
        with fetching():
            manifest = await self._pushed.packs.manifest(version)
            if manifest is None:
                raise NotOffered("the archive is no longer in the file store; push it anew", stage="fetch")
            path = await self._pushed.fetched(manifest, held)
        self._enter("config")
        folder = await self._pushed.read(manifest, path)
        for note in folder.notes:
            self._told(f"note: {note}\n")
        self._enter("environment")
        environment = await self._pushed.environment(folder, held, self._told)
        self._enter("import")
        model = await introspection.model_of(folder, environment, self._settings, self._told)
        self._enter("schema")
        _fits(model)
        self._enter("setup")
        ready = await self._set_up(model)
        self._told(f"ready after {ready.seconds:.1f} s\n")
        return Built(
            offer=model.offer,
            setup_seconds=ready.seconds,
            setup_log=ready.log[-LONGEST_SETUP_LOG:],
            environment=environment.digest,
            notes=folder.notes,
        )

    async def _set_up(self, model: Model) -> Ready:
        """A trial, in a seat like any other: the worker ends once it is ready. If that was too small, a second one."""
        try:
            return await self._seated(model)
        except SetupFailed as failure:
            if not failure.out_of_memory or not self._memory.enlarge(model.offer.version):
                raise _offence(failure) from failure
            self._told("it ran out of memory; it is tried again with all that this host has for models\n")
        try:
            return await self._seated(model)
        except SetupFailed as failure:
            raise _offence(failure) from failure

    async def _seated(self, model: Model) -> Ready:
        home = scratch.worker()
        try:
            async with self._memory.lent(model.offer.version, model.hints, Path(home) / "offload") as given:
                return await self._tried(model, home, given)
        finally:
            await asyncio.to_thread(shutil.rmtree, home, ignore_errors=True)

    async def _tried(self, model: Model, home: str, given: Given) -> Ready:
        worker = await worker_process.start(model.program, _unheard, self._told, home=home, given=given)
        try:
            ready = await worker.ready(self._settings.setup_limit)
            size = memory.resident([worker.pid])[worker.pid]
        except SetupFailed:
            raise
        except BaseException:
            worker.kill()
            raise
        finally:
            await worker.end()
        self._memory.learn(model.offer.version, host=size, device=ready.device_bytes)
        return ready

    def _enter(self, stage: str) -> None:
        self.stage = stage
        self._told(f"== {stage}\n")

    def _told(self, text: str) -> None:
        text = text.replace("\0", "\ufffd")
        if len(text) > self._room > 0:
            text = text[: self._room] + "\n… the rest of the log is left out\n"
            self._room = 0
        elif self._room == 0:
            return
        else:
            self._room -= len(text)
        if text:
            self._say(text)


def _fits(model: Model) -> None:
    size = len(bytes(model.offer.openapi_schema))
    if size > LARGEST_SCHEMA:
        raise NotOffered(f"the schema has {size} bytes, and {LARGEST_SCHEMA} are the limit", stage="schema")


def _offence(failure: SetupFailed) -> NotOffered:
    where = place(failure.file, failure.line)
    return NotOffered(f"{where}{failure.cause}", stage=failure.stage, file=failure.file, line=failure.line)


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


def _line(text: str) -> str:
    return text if not text or text.endswith("\n") else f"{text}\n"


def _unheard(_: FromWorker) -> None:
    """Nothing is run in it."""
