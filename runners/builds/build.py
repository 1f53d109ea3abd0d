"""The build of one pushed version: fetched, installed, introspected, and set up once."""

import asyncio
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from runners.builds.bounded_log import BoundedLog
from runners.builds.slots import SlotLender
from runners.errors import SetupFailed, UnusableModel, location_prefix
from runners.placement.limits import WorkerLimits
from runners.process import memory, scratch, worker_process
from runners.settings import Settings
from runners.versions import introspection
from runners.versions.introspection import Model
from runners.versions.pushed import PushedVersions, as_fetch_failure
from runners.worker.frames import FromWorker, Ready
from schemas.models import BuildResult

MAX_SETUP_LOG_CHARS: Final = 100_000
MAX_SCHEMA_BYTES: Final = 400_000  # it travels in one message with the readme and the log of the setup


class Build:
    """A build of one version, stage by stage, and its log."""

    def __init__(
        self, pushed: PushedVersions, slots: SlotLender, settings: Settings, on_output: Callable[[str], None]
    ) -> None:
        self._pushed = pushed
        self._slots = slots
        self._settings = settings
        self._on_output = on_output
        self._bounded_log = BoundedLog()
        self.stage = ""

    async def run(self, version: str) -> BuildResult:
        """Build a version. Raises `UnusableModel` with the stage that failed."""
        with ExitStack() as resources:
            try:
                return await self._run_stages(version, resources)
            except UnusableModel as error:
                if error.stage != self.stage:
                    # The worker imports and describes in one go.
                    self._enter(error.stage)
                if error.stage in ("import", "schema"):
                    self._log(_terminated(error.log))
                raise

    async def _run_stages(self, version: str, resources: ExitStack) -> BuildResult:
        self._enter("fetch")
        with as_fetch_failure():
            manifest = await self._pushed.archives.fetch_manifest(version)
            if manifest is None:
                raise UnusableModel("the archive is no longer in the file store; push it again", stage="fetch")
            path = await self._pushed.fetch_folder(manifest, resources)
        self._enter("config")
        folder = await self._pushed.read_folder(manifest, path)
        for note in folder.notes:
            self._log(f"note: {note}\n")
        self._enter("environment")
        environment = await self._pushed.acquire_environment(folder, resources, self._log)
        self._enter("import")
        model = await introspection.introspect_model(folder, environment, self._settings, self._log)
        self._enter("schema")
        _check_schema_size(model)
        self._enter("setup")
        ready = await self._set_up(model)
        self._log(f"ready after {ready.seconds:.1f} s\n")
        return BuildResult(
            offer=model.info,
            setup_seconds=ready.seconds,
            setup_log=ready.log[-MAX_SETUP_LOG_CHARS:],
            environment=environment.digest,
            notes=folder.notes,
        )

    async def _set_up(self, model: Model) -> Ready:
        """Try the setup in a slot like any other; if that was too small, try it once more with the whole host."""
        try:
            return await self._try_in_slot(model)
        except SetupFailed as failure:
            if not failure.is_out_of_memory or not self._slots.request_whole_host(model.version):
                raise _as_unusable(failure) from failure
            self._log("setup ran out of memory; it is tried again with all the memory that this host has for models\n")
        try:
            return await self._try_in_slot(model)
        except SetupFailed as failure:
            raise _as_unusable(failure) from failure

    async def _try_in_slot(self, model: Model) -> Ready:
        home = scratch.create_worker_folder()
        try:
            offload = Path(home) / "offload"
            async with self._slots.lend_slot(model.version, model.hints, offload) as limits:
                return await self._try_worker(model, home, limits)
        finally:
            await asyncio.to_thread(shutil.rmtree, home, ignore_errors=True)

    async def _try_worker(self, model: Model, home: str, limits: WorkerLimits) -> Ready:
        """Start a worker, wait until it is ready, and end it."""
        worker = await worker_process.start_worker(model.program, _ignore, self._log, home=home, limits=limits)
        try:
            ready = await worker.wait_ready(self._settings.setup_limit)
            size = memory.resident_bytes([worker.pid])[worker.pid]
        except SetupFailed:
            raise
        except BaseException:
            worker.kill()
            raise
        finally:
            await worker.shut_down()
        self._slots.record_memory(model.version, host=size, device=ready.device_bytes)
        return ready

    def _enter(self, stage: str) -> None:
        self.stage = stage
        self._log(f"== {stage}\n")

    def _log(self, text: str) -> None:
        if text := self._bounded_log.cut(text.replace("\0", "\ufffd")):
            self._on_output(text)


def _check_schema_size(model: Model) -> None:
    size = len(bytes(model.info.openapi_schema))
    if size > MAX_SCHEMA_BYTES:
        raise UnusableModel(f"the schema has {size} bytes; the limit is {MAX_SCHEMA_BYTES}", stage="schema")


def _as_unusable(failure: SetupFailed) -> UnusableModel:
    message = f"{location_prefix(failure.file, failure.line)}{failure.cause}"
    return UnusableModel(message, stage=failure.stage, file=failure.file, line=failure.line)


def _terminated(text: str) -> str:
    """Return the text with a newline at its end, unless it is empty."""
    return text if not text or text.endswith("\n") else f"{text}\n"


def _ignore(_: FromWorker) -> None:
    """Ignore a frame: nothing runs in a worker that is only tried."""
