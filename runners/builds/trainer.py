"""One training: a worker is started for it, runs `train`, and ends; what it returned is described by its hash."""

import asyncio
import hashlib
import os
import shutil
import time
from contextlib import AbstractAsyncContextManager, ExitStack, suppress
from pathlib import Path
from typing import Any, Final, Protocol, cast

import structlog
from msgspec import Raw, json, structs

from runners.batching.batcher import Batcher
from runners.batching.call import Call, Death, Wish, unrun
from runners.errors import BadPack, FileStoreError, NotOffered, RunnerError, SetupFailed
from runners.jobs.file_store import MARK
from runners.placement.limits import Given
from runners.placement.memory_profiles import Hints
from runners.process import memory, scratch, worker_process
from runners.process.worker_process import Instance, Program
from runners.settings import Settings
from runners.versions.resolver import Library
from runners.worker.frames import Done, FromWorker, Said, Took
from schemas import phases
from schemas.models import Trained, Weights

log = structlog.stdlib.get_logger()

HUMBLE: Final = 10  # how nice a training is to predictions beside it, which want an answer at once
LONGEST_LOG: Final = 2_000_000  # characters
CUT: Final = "\n… the rest of the log is left out\n"
NO_TRAIN: Final = "this version cannot be trained: its cog.yaml names no train"
NO_WEIGHTS: Final = "train returned no weights: return a Path to a file, or TrainingOutput(weights=Path(…))"


class Room(Protocol):
    """Where a worker that takes no predictions gets its memory, and what was seen of it is kept."""

    def lent(self, version: str, hints: Hints, offload: Path, phase: str) -> AbstractAsyncContextManager[Given]: ...
    def learn(self, version: str, *, host: int, device: int) -> None: ...
    def enlarge(self, version: str) -> bool: ...


class Trainer:
    """Does for one training what a batcher and a worker do for predictions."""

    def __init__(self, library: Library, room: Room, settings: Settings, version: str) -> None:
        self._library = library
        self._room = room
        self._settings = settings
        self._version = version
        self._name = f"{version}-train"
        """Its memory is not that of the version's predictions."""
        self._batcher = self._line()
        self._task: asyncio.Task[None] | None = None
        self._homes: list[str] = []
        self._log = LONGEST_LOG
        self._host = self._device = 0
        """Bytes that the worker took, at most."""

    def put(self, call: Call) -> None:
        self._batcher = self._line()
        self._batcher.put(call)
        self._task = asyncio.get_running_loop().create_task(self._run(call, self._task))

    def stop(self, call: Call, wish: Wish) -> None:
        self._batcher.stop(call, wish)
        if call.end is not None and self._task is not None:
            self._task.cancel()  # it had not begun: nobody waits for the worker

    def leave(self, call: Call) -> None:
        call.left = True
        if self._task is not None:
            self._task.cancel()

    def relieve(self) -> None:
        self._batcher.relieve()

    def renew(self) -> bool:
        """With all the memory that this host has for models, if it had less."""
        return self._room.enlarge(self._name)

    async def close(self) -> None:
        """Until its worker is gone, with its files."""
        if self._task is not None:
            await asyncio.wait([self._task])
        for home in self._homes:
            await asyncio.to_thread(shutil.rmtree, home, ignore_errors=True)

    def _line(self) -> Batcher:
        return Batcher(grace=self._settings.cancel_grace, on_fits=lambda _: None, on_short=lambda: False)

    async def _run(self, call: Call, earlier: asyncio.Task[None] | None) -> None:
        if earlier is not None:
            await asyncio.wait([earlier])
        try:
            with ExitStack() as held:
                model = await self._library.model(self._version, held, lambda _: None)
                if model.trainer is None:
                    raise NotOffered(NO_TRAIN)
                await self._seated(model.trainer, model.hints, call)
        except SetupFailed as failure:
            call.say(failure.log)
            end = unrun(call, time.time(), status="failed", error=str(failure))
            call.finish(structs.replace(end, short=failure.out_of_memory))
        except (NotOffered, FileStoreError, BadPack) as error:
            self._batcher.fail_all(str(error), error.log if isinstance(error, NotOffered) else "")
        except (RunnerError, OSError) as error:
            log.exception("a training failed by a fault of ours", id=call.id)
            self._batcher.fail_all(str(error), "")

    async def _seated(self, program: Program, hints: Hints, call: Call) -> None:
        home = scratch.worker()
        self._homes.append(home)
        async with self._room.lent(self._name, hints, Path(home) / "offload", phases.TRAINING) as given:
            await self._worked(program, home, given, call)

    async def _worked(self, program: Program, home: str, given: Given, call: Call) -> None:
        done: asyncio.Future[Done] = asyncio.get_running_loop().create_future()

        def heard(frame: FromWorker) -> None:
            match frame:
                case Done() if not done.done():
                    done.set_result(frame)
                case Said(ids=ids, text=text):
                    self._batcher.heard(Said(ids, self._bounded(text)))
                case Took(device_bytes=device, host_bytes=host):
                    self._host, self._device = max(self._host, host), max(self._device, device)
                case _:
                    self._batcher.heard(frame)

        worker = await worker_process.start(program, heard, home=home, given=given)
        try:
            _humble(worker.pid)
            ready = await worker.ready(self._settings.setup_limit)
            call.say(ready.log)
            self._learn(worker, ready.device_bytes)
            self._batcher.attach(worker, size=1, window=0.0)
            await self._ended(worker, done)
        finally:
            worker.kill()
            await worker.end()

    async def _ended(self, worker: Instance, done: asyncio.Future[Done]) -> None:
        ending = asyncio.create_task(worker.ended())
        try:
            await asyncio.wait([ending, done], return_when=asyncio.FIRST_COMPLETED)
            if done.done():
                self._learn(worker)
                self._batcher.heard(await asyncio.to_thread(described, done.result()))
            else:
                ended = ending.result()
                log.warning("a training's worker died", reason=ended.reason, killed_by_us=ended.ours)
                self._batcher.detach(Death(ended.reason, ended.ours))
        finally:
            ending.cancel()
            await asyncio.wait([ending])

    def _bounded(self, text: str) -> str:
        """A log is kept whole until the end, and with the version that comes of it."""
        room, self._log = self._log, max(0, self._log - len(text))
        return text if len(text) <= room else text[:room] + (CUT if room else "")

    def _learn(self, worker: Instance, device: int = 0) -> None:
        self._host = max(self._host, memory.resident([worker.pid])[worker.pid])
        self._device = max(self._device, device)
        self._room.learn(self._name, host=self._host, device=self._device)


def described(done: Done) -> Done:
    """What the gateway is told of a training that went well: what was returned, and which file the weights are."""
    if done.status != "ok":
        return done
    marked = _marked(done.value)
    path = marked.removeprefix(MARK)
    if path not in done.files:
        return structs.replace(done, status="failed", value=None, files=[], error=NO_WEIGHTS)
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    weights = Weights(key=marked, sha256=digest, size=os.path.getsize(path))
    return structs.replace(done, value=json.encode(Trained(output=Raw(done.value or b""), weights=weights)))


def _marked(value: bytes | None) -> str:
    """The text that stands for the weights; an empty one if none does."""
    found: Any = json.decode(value) if value else None
    if isinstance(found, dict):
        found = cast("dict[str, Any]", found).get("weights")
    return found if isinstance(found, str) else ""


def _humble(pid: int) -> None:
    """Before it computes: its threads are as nice as the one that there is now."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, HUMBLE)
