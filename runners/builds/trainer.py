"""The trainer of one version: it starts a worker, runs `train` in it, and describes the weights by their hash."""

import asyncio
import hashlib
import os
import shutil
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final, cast

import structlog
from msgspec import Raw, json, structs

from runners.batching.batcher import Batcher
from runners.batching.call import Call, StopRequest, WorkerDeath, done_without_worker
from runners.builds.bounded_log import BoundedLog
from runners.builds.slots import SlotLender
from runners.errors import BadArchive, FileStoreError, RunnerError, SetupFailed, UnusableModel
from runners.jobs.file_store import FILE_MARK
from runners.placement.limits import WorkerLimits
from runners.placement.memory_profiles import Hints
from runners.process import memory, scratch, worker_process
from runners.process.program import Program
from runners.process.worker_process import WorkerProcess
from runners.settings import Settings
from runners.versions.resolver import Resolver
from runners.worker.frames import Done, FromWorker, LogText, MemoryPeak
from schemas import phases
from schemas.models import TrainingResult, Weights

log = structlog.stdlib.get_logger()

NICENESS: Final = 10  # of a training, so that predictions beside it are answered at once
NO_TRAIN: Final = "this version cannot be trained: its cog.yaml names no train"
NO_WEIGHTS: Final = "train returned no weights: return a Path to a file, or TrainingOutput(weights=Path(…))"


class Trainer:
    """The runner of one training, in place of the batcher and worker of predictions.

    It owns the training's worker, its files and its log.
    """

    def __init__(self, resolver: Resolver, slots: SlotLender, settings: Settings, version: str) -> None:
        self._resolver = resolver
        self._slots = slots
        self._settings = settings
        self._version = version
        self._profile_name = f"{version}-train"
        """The name of its memory profile, which is not that of the version's predictions."""
        self._batcher = self._create_batcher()
        self._task: asyncio.Task[None] | None = None
        self._homes: list[str] = []
        self._bounded_log = BoundedLog()
        self._host_bytes = self._device_bytes = 0
        """Bytes that the worker used, at most."""

    def put(self, call: Call) -> None:
        """Start the training; a second attempt waits for the end of the first."""
        self._batcher = self._create_batcher()
        self._batcher.put(call)
        self._task = asyncio.get_running_loop().create_task(self._run(call, self._task))

    def stop(self, call: Call, request: StopRequest) -> None:
        """Cancel the training."""
        self._batcher.stop(call, request)
        if call.outcome is not None and self._task is not None:
            self._task.cancel()  # it had not started: nobody waits for the worker

    def abandon(self, call: Call) -> None:
        """End a training whose result nobody reads."""
        call.is_abandoned = True
        if self._task is not None:
            self._task.cancel()

    def resume(self) -> None:
        """Read on after the worker's output was held back."""
        self._batcher.resume()

    def replace_worker(self) -> bool:
        """Give the next attempt the whole host's memory; return False if this one had that."""
        return self._slots.request_whole_host(self._profile_name)

    async def close(self) -> None:
        """Wait until its worker has ended, and remove its files."""
        if self._task is not None:
            await asyncio.wait([self._task])
        for home in self._homes:
            await asyncio.to_thread(shutil.rmtree, home, ignore_errors=True)

    def _create_batcher(self) -> Batcher:
        return Batcher(grace=self._settings.cancel_grace, on_batch_limit=lambda _: None, on_out_of_memory=lambda: False)

    async def _run(self, call: Call, earlier: asyncio.Task[None] | None) -> None:
        if earlier is not None:
            await asyncio.wait([earlier])
        try:
            with ExitStack() as resources:
                model = await self._resolver.resolve(self._version, resources, lambda _: None)
                if model.trainer is None:
                    raise UnusableModel(NO_TRAIN)
                await self._train_in_slot(model.trainer, model.hints, call)
        except SetupFailed as failure:
            call.add_log(failure.log)
            end = done_without_worker(call, time.time(), status="failed", error=str(failure))
            call.finish(structs.replace(end, short=failure.is_out_of_memory))
        except (UnusableModel, FileStoreError, BadArchive) as error:
            self._batcher.fail_all(str(error), error.log if isinstance(error, UnusableModel) else "")
        except (RunnerError, OSError) as error:
            log.exception("a training failed by a fault of ours", id=call.id)
            self._batcher.fail_all(str(error), "")

    async def _train_in_slot(self, program: Program, hints: Hints, call: Call) -> None:
        home = scratch.create_worker_folder()
        self._homes.append(home)
        offload = Path(home) / "offload"
        async with self._slots.lend_slot(self._profile_name, hints, offload, phases.TRAINING) as limits:
            await self._train(program, home, limits, call)

    async def _train(self, program: Program, home: str, limits: WorkerLimits, call: Call) -> None:
        done: asyncio.Future[Done] = asyncio.get_running_loop().create_future()

        def on_frame(frame: FromWorker) -> None:
            match frame:
                case Done() if not done.done():
                    done.set_result(frame)
                case LogText(ids=ids, text=text):
                    self._batcher.on_frame(LogText(ids, self._bounded_log.cut(text)))
                case MemoryPeak(device_bytes=device, host_bytes=host):
                    self._host_bytes = max(self._host_bytes, host)
                    self._device_bytes = max(self._device_bytes, device)
                case _:
                    self._batcher.on_frame(frame)

        worker = await worker_process.start_worker(program, on_frame, home=home, limits=limits)
        try:
            _lower_priority(worker.pid)
            ready = await worker.wait_ready(self._settings.setup_limit)
            call.add_log(ready.log)
            self._record_memory(worker, ready.device_bytes)
            self._batcher.attach(worker, size=1, window=0.0)
            await self._wait_for_result(worker, done)
        finally:
            worker.kill()
            await worker.shut_down()

    async def _wait_for_result(self, worker: WorkerProcess, done: asyncio.Future[Done]) -> None:
        exiting = asyncio.create_task(worker.wait_exit())
        try:
            await asyncio.wait([exiting, done], return_when=asyncio.FIRST_COMPLETED)
            if done.done():
                self._record_memory(worker)
                self._batcher.on_frame(await asyncio.to_thread(describe_training, done.result()))
            else:
                ended = exiting.result()
                log.warning("the worker of a training died", reason=ended.reason, killed_by_us=ended.killed_by_us)
                self._batcher.detach(WorkerDeath(ended.reason, ended.killed_by_us))
        finally:
            exiting.cancel()
            await asyncio.wait([exiting])

    def _record_memory(self, worker: WorkerProcess, device: int = 0) -> None:
        self._host_bytes = max(self._host_bytes, memory.resident_bytes([worker.pid])[worker.pid])
        self._device_bytes = max(self._device_bytes, device)
        self._slots.record_memory(self._profile_name, host=self._host_bytes, device=self._device_bytes)


def describe_training(done: Done) -> Done:
    """Return the result for the gateway: what `train` returned, and which of its files holds the weights."""
    if done.status != "ok":
        return done
    reference = _weights_reference(done.value)
    path = reference.removeprefix(FILE_MARK)
    if path not in done.files:
        return structs.replace(done, status="failed", value=None, files=[], error=NO_WEIGHTS)
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    weights = Weights(key=reference, sha256=digest, size=os.path.getsize(path))
    return structs.replace(done, value=json.encode(TrainingResult(output=Raw(done.value or b""), weights=weights)))


def _weights_reference(value: bytes | None) -> str:
    """Return the string that stands for the weights in a result; empty if none does."""
    output: Any = json.decode(value) if value else None
    if isinstance(output, dict):
        output = cast("dict[str, Any]", output).get("weights")
    return output if isinstance(output, str) else ""


def _lower_priority(pid: int) -> None:
    """Lower a process's priority before it computes: its later threads inherit from the only one that it has now."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, NICENESS)
