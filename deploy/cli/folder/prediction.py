"""A prediction by a worker on this machine, shown as it runs."""

import asyncio
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, cast

from msgspec import Struct, json

from deploy.cli.client.models import ModelSchema
from deploy.cli.client.output_files import free_path
from deploy.cli.terminal.interrupts import Interrupts
from deploy.cli.terminal.output import ChunkPrinter, format_output
from deploy.cli.terminal.progress import Progress
from runners.jobs.file_store import FILE_MARK
from runners.jobs.json_strings import map_strings
from runners.process.program import Program
from runners.process.worker_process import WorkerProcess, start_worker
from runners.worker.frames import Chunk, Done, FromWorker, Item, LogText

PREDICTION_ID: Final = "local"
STOP_RETRY_SECONDS: Final = 0.5  # a predictor may swallow the first request to stop
STATUSES: Final = {"ok": "succeeded", "stopped": "canceled"}


class Outcome(Struct, frozen=True, kw_only=True):
    """The end of a local prediction, in the API's terms."""

    status: str
    output: Any
    error: str | None
    logs: str
    metrics: dict[str, Any]


class OutputListener:
    """Receives the frames of a worker: prints logs and chunks, and saves files to `folder`.

    One listener serves one prediction. `done` gets the worker's last frame.
    """

    def __init__(self, schema: ModelSchema, progress: Progress, folder: Path, *, show: bool) -> None:
        self.done: asyncio.Future[Done] = asyncio.get_running_loop().create_future()
        self._printer = ChunkPrinter(is_text=schema.is_text, enabled=show and schema.is_iterator)
        self._show = show
        self._has_files = schema.has_files
        self._progress = progress
        self._folder = folder
        self._chunks: list[Any] = []
        self._logs: list[str] = []

    def __call__(self, frame: FromWorker) -> None:
        match frame:
            case Chunk(value=value, files=files):
                self._chunks.append(self._decode_value(value, files))
                if self._printer.enabled:
                    self._progress.stop()
                    self._printer.add(format_output(self._chunks[-1]))
            case LogText(text=text):
                self._logs.append(text)
                self.print_log(text)
            case Done() if not self.done.done():
                self.done.set_result(frame)
            case _:
                pass

    def print_log(self, text: str) -> None:
        """Print what the worker logged."""
        self._progress.print_log(text)

    def complete(self, done: Done) -> Outcome:
        """Return the outcome that the worker's last frame reports."""
        value = None if done.value is None else self._decode_value(done.value, done.files)
        output = self._chunks if done.many else value
        return self.finish(STATUSES.get(done.status, "failed"), done.error, output=output, metrics=done.metrics)

    def finish(
        self, status: str, error: str | None, *, output: Any = None, metrics: dict[str, Any] | None = None
    ) -> Outcome:
        """Return the outcome of a prediction; without an output, the chunks so far are its output."""
        self._printer.finish()
        output = self._chunks or None if output is None else output
        return Outcome(status=status, output=output, error=error, logs="".join(self._logs), metrics=metrics or {})

    def print_output(self, outcome: Outcome) -> None:
        """Print the output, one line for each file, unless its chunks have been printed."""
        if self._show and not self._printer.enabled and outcome.status == "succeeded":
            lines = _output_lines(outcome.output) if self._has_files else [format_output(outcome.output)]
            print("\n".join(lines), flush=True)

    def _decode_value(self, value: bytes, files: list[str]) -> Any:
        """Decode a value, with each file of the worker replaced by the path of its copy."""
        copies = {f"{FILE_MARK}{path}": str(self._copy_file(Path(path))) for path in dict.fromkeys(files)}
        return map_strings(json.decode(value), lambda text: copies.get(text, text))

    def _copy_file(self, path: Path) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copyfile(path, free_path(self._folder, PREDICTION_ID, path.name)))


def _output_lines(output: Any) -> list[str]:
    if isinstance(output, list):
        return [format_output(each) for each in cast("list[Any]", output)]
    return [format_output(output)]


@asynccontextmanager
async def run_worker(
    program: Program, listener: OutputListener, home: Path, setup_timeout: float, interrupts: Interrupts
) -> AsyncGenerator[WorkerProcess]:
    """Run a worker that is ready inside the block, and end it with all that it started. Its files lie in `home`.

    Raises `SetupFailed`; by then, what the setup logged has been printed.
    """
    worker = await start_worker(program, listener, listener.print_log, home=str(home))
    try:
        await interrupts.run_until_interrupt(worker.wait_ready(setup_timeout))
        yield worker
    finally:
        await worker.shut_down()


async def run_prediction(
    worker: WorkerProcess, listener: OutputListener, item: Item, interrupts: Interrupts, cancel_timeout: float
) -> Outcome:
    """Run one prediction. An interrupt stops it, and kills the worker if that takes over `cancel_timeout` seconds."""
    worker.run([item])
    exited = asyncio.ensure_future(worker.wait_exit())
    interrupt = asyncio.ensure_future(interrupts.requested.wait())
    try:
        await asyncio.wait({listener.done, exited, interrupt}, return_when=asyncio.FIRST_COMPLETED)
        if not listener.done.done() and not exited.done():
            await _stop(worker, {listener.done, exited}, item.id, cancel_timeout)
        if listener.done.done():
            return listener.complete(listener.done.result())
        if interrupts.requested.is_set():
            return listener.finish("canceled", None)
        return listener.finish("failed", f"the worker died: {(await exited).reason}")
    finally:
        interrupt.cancel()
        exited.cancel()


async def _stop(worker: WorkerProcess, ends: set[asyncio.Future[Any]], id: str, timeout: float) -> None:
    """Ask the worker to stop until one of `ends` is done, and kill it after `timeout` seconds."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    while (remaining := deadline - loop.time()) > 0:
        worker.stop([id])
        retry = min(remaining, STOP_RETRY_SECONDS)
        done, _ = await asyncio.wait(ends, timeout=retry, return_when=asyncio.FIRST_COMPLETED)
        if done:
            return
    worker.kill()
