"""One worker, and the one prediction that it makes: shown as it comes."""

import asyncio
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, cast

from msgspec import Struct, json

from deploy.cli.commands.run import Model, Output, plain, unused
from deploy.cli.terminal.interrupts import Interrupts
from deploy.cli.terminal.output import Progress
from runners.jobs.file_store import MARK
from runners.jobs.json_strings import mapped
from runners.process.worker_process import Instance, Program, start
from runners.worker.frames import Chunk, Done, FromWorker, Item, Said

ID: Final = "local"
ASK_EVERY: Final = 0.5  # seconds; a predictor may swallow the first request to stop


class Outcome(Struct, frozen=True, kw_only=True):
    """How it ended, in the API's words."""

    status: str
    output: Any
    error: str | None
    logs: str
    metrics: dict[str, Any]


class Hearing:
    """What the worker says. Files that it made are kept in `folder`."""

    def __init__(self, model: Model, progress: Progress, folder: Path, *, show: bool) -> None:
        self.done: asyncio.Future[Done] = asyncio.get_running_loop().create_future()
        self._output = Output(joined=model.text, show=show and model.streams)
        self._show = show
        self._many = model.files
        self._progress = progress
        self._folder = folder
        self._chunks: list[Any] = []
        self._logs: list[str] = []

    def __call__(self, frame: FromWorker) -> None:
        match frame:
            case Chunk(value=value, files=files):
                self._chunks.append(self._kept(value, files))
                if self._output.show:
                    self._progress.stop()
                    self._output.add(plain(self._chunks[-1]))
            case Said(text=text):
                self._logs.append(text)
                self.say(text)
            case Done() if not self.done.done():
                self.done.set_result(frame)
            case _:
                pass

    def say(self, text: str) -> None:
        self._progress.log(text)

    def outcome(self, done: Done) -> Outcome:
        whole = None if done.value is None else self._kept(done.value, done.files)
        return self.ended(
            {"ok": "succeeded", "stopped": "canceled"}.get(done.status, "failed"),
            done.error,
            output=self._chunks if done.many else whole,
            metrics=done.metrics,
        )

    def tell(self, outcome: Outcome) -> None:
        """The output on stdout, unless it has been printed as it came; a line for each file."""
        if self._show and not self._output.show and outcome.status == "succeeded":
            print("\n".join(_lines(outcome.output) if self._many else [plain(outcome.output)]), flush=True)

    def ended(
        self, status: str, error: str | None, *, output: Any = None, metrics: dict[str, Any] | None = None
    ) -> Outcome:
        self._output.end()
        output = self._chunks or None if output is None else output
        return Outcome(status=status, output=output, error=error, logs="".join(self._logs), metrics=metrics or {})

    def _kept(self, value: bytes, files: list[str]) -> Any:
        kept = {f"{MARK}{path}": str(self._copied(Path(path))) for path in dict.fromkeys(files)}
        return mapped(json.decode(value), lambda text: kept.get(text, text))

    def _copied(self, path: Path) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copyfile(path, unused(self._folder, ID, path.name)))


def _lines(output: Any) -> list[str]:
    return [plain(each) for each in cast("list[Any]", output)] if isinstance(output, list) else [plain(output)]


@asynccontextmanager
async def set_up(
    program: Program, hearing: Hearing, home: Path, within: float, interrupts: Interrupts
) -> AsyncGenerator[Instance]:
    """A worker that is ready; gone afterwards, with all that it started. Its files lie in `home`.

    Raises `SetupFailed`; what it printed has been shown then.
    """
    worker = await start(program, hearing, hearing.say, home=str(home))
    try:
        await interrupts.unless(worker.ready(within))
        yield worker
    finally:
        await worker.end()


async def run(worker: Instance, hearing: Hearing, item: Item, interrupts: Interrupts, grace: float) -> Outcome:
    """Asked to stop, it has `grace` seconds for it."""
    worker.run([item])
    gone = asyncio.ensure_future(worker.ended())
    asked = asyncio.ensure_future(interrupts.asked.wait())
    try:
        await asyncio.wait({hearing.done, gone, asked}, return_when=asyncio.FIRST_COMPLETED)
        if not hearing.done.done() and not gone.done():
            await _stopped(worker, {hearing.done, gone}, item.id, grace)
        if hearing.done.done():
            return hearing.outcome(hearing.done.result())
        if interrupts.asked.is_set():
            return hearing.ended("canceled", None)
        return hearing.ended("failed", f"the worker died: {(await gone).reason}")
    finally:
        asked.cancel()
        gone.cancel()


async def _stopped(worker: Instance, ends: set[asyncio.Future[Any]], id: str, grace: float) -> None:
    loop = asyncio.get_running_loop()
    until = loop.time() + grace
    while (left := until - loop.time()) > 0:
        worker.stop([id])
        over, _ = await asyncio.wait(ends, timeout=min(left, ASK_EVERY), return_when=asyncio.FIRST_COMPLETED)
        if over:
            return
    worker.kill()
