"""One worker process: started, spoken to in frames, stopped."""

import asyncio
import os
import re
import resource
import shutil
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, cast

import structlog
from msgspec import DecodeError, Struct, json

from runners.errors import SetupFailed, place
from runners.placement.limits import Given
from runners.process import memory, scratch
from runners.process.last_output import Words
from runners.worker import frames
from runners.worker.frames import Broken, Check, FromWorker, Health, Item, Park, Parked, Ready, Run, Said, Stop

log = structlog.stdlib.get_logger()

HOST: Final = Path(__file__).parents[1] / "worker" / "host.py"
LAST_WORDS: Final = 2_000  # characters
LONGEST_ERROR: Final = 8_000  # characters
LONGEST_LOG: Final = 100_000
EXIT_WITHIN: Final = 2.0  # seconds after its socket was closed
ABORT_WITHIN: Final = 1.0  # seconds for saying where it stood
HEALTH_WITHIN: Final = 5.0
NOTHING: Final = Given()
_INPUTS: Final = "SAMOVAR_INPUTS"

PASSED_ON: Final = re.compile(
    r"PATH|HOME|USER|LOGNAME|LANG|LANGUAGE|TZ|TMPDIR|LD_LIBRARY_PATH|SSL_CERT_(FILE|DIR)|VIRTUAL_ENV"
    r"|(https?|no)_proxy|(HTTPS?|NO)_PROXY"
    r"|(LC|XDG|OMP|MKL|OPENBLAS|CUDA|NVIDIA|NCCL|TORCH|PYTORCH|HF|HIP|ROCR|HSA)_.*"
)
"""Names in our environment that user code may see: what says how to compute, and nothing of the broker or the store."""


class Program(Struct, frozen=True, kw_only=True):
    """What a worker process runs."""

    folder: Path
    ref: str
    environment: Mapping[str, str]
    python: str = sys.executable
    host: str = str(HOST)
    train: bool = False
    """Its `train` is what runs, as `predict` would."""


class Ended(Struct, frozen=True):
    """How a worker process ended."""

    reason: str
    ours: bool


class Instance(asyncio.Protocol):
    """The agent's end of a worker. What it prints until it is ready goes to `said`, and later frames to `heard`."""

    def __init__(
        self,
        process: Process,
        program: Program,
        words: Words,
        home: str | None,
        heard: Callable[[FromWorker], None],
        said: Callable[[str], None] | None,
    ) -> None:
        self._process = process
        self._program = program
        self._words = words
        self._home = home
        """To be removed when it ends."""
        self._heard = heard
        self._said = said
        self._setup = _Tail()
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._held: list[bytes] | None = None
        """What has been written since something went out in this step of the loop; None: nothing went out."""
        self._loop = loop = asyncio.get_running_loop()
        self._first: asyncio.Future[Ready | Broken] = loop.create_future()
        self._health: asyncio.Future[str | None] | None = None
        self._moved: asyncio.Future[Parked] | None = None
        self._closed: asyncio.Future[None] = loop.create_future()
        self._ours = False
        self._paused = False

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ready(self, within: float) -> Ready:
        """It is set up, and says that it is well if it can say so. Raises `SetupFailed`."""
        exits = asyncio.ensure_future(self._closed_or_gone())
        try:
            await asyncio.wait([self._first, exits], timeout=within, return_when=asyncio.FIRST_COMPLETED)
        finally:
            exits.cancel()
        if not self._first.done():
            raise await self._unready(None if exits.done() and not exits.cancelled() else within)
        match self._first.result():
            case Ready() as ready:
                await self._well(ready)
                return ready
            case Broken() as broken:
                await self.end()
                raise _broken(broken)

    async def healthy(self, within: float = HEALTH_WITHIN) -> str | None:
        """Ask its `healthcheck`: why it is not well, or None."""
        if self._health is None:  # else it still owes an answer
            self._health = asyncio.get_running_loop().create_future()
            self._write(frames.pack(Check()))
        exits = asyncio.ensure_future(self._closed_or_gone())
        try:
            await asyncio.wait([self._health, exits], timeout=within, return_when=asyncio.FIRST_COMPLETED)
        finally:
            exits.cancel()
        if not self._health.done():
            return f"healthcheck gave no answer within {within:g} s"
        answer, self._health = self._health.result(), None
        return answer

    async def park(self, parked: bool, within: float) -> Parked | None:
        """Have it leave its device, or come back; nothing may run in it. None: it did not answer."""
        self._moved = asyncio.get_running_loop().create_future()
        self._write(frames.pack(Park(parked)))
        exits = asyncio.ensure_future(self._closed_or_gone())
        try:
            await asyncio.wait([self._moved, exits], timeout=within, return_when=asyncio.FIRST_COMPLETED)
        finally:
            exits.cancel()
        return self._moved.result() if self._moved.done() else None

    def run(self, items: list[Item]) -> None:
        self._write(frames.pack(Run(items)))

    def stop(self, ids: list[str]) -> None:
        """Ask it to leave these; a busy worker looks up on the signal."""
        self._write(frames.pack(Stop(ids)))
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGUSR1)

    def pause(self) -> None:
        """Read no more: the worker waits once its socket is full."""
        if self._transport is not None and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._transport is not None and self._paused and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    def kill(self) -> None:
        """At once, with all the processes that it started."""
        if self._process.returncode is None:
            # Later, the number may be another process's.
            self._ours = True
            kill_group(self._process.pid)

    async def ended(self) -> Ended:
        """Wait until it is gone, whatever the reason; nothing of its process group is left then."""
        await self._closed_or_gone()
        return await self.end()

    async def end(self) -> Ended:
        """Close the socket, which ends it; kill what does not end."""
        ended, words = await self._finish()
        last = words.strip()[-LAST_WORDS:]
        return Ended(f"{ended.reason}; last words: {last}" if last else ended.reason, ended.ours)

    async def _finish(self) -> tuple[Ended, str]:
        """How it ended, and what it printed and did not say: a fatal error of the interpreter, for one."""
        if self._transport is not None:
            self._flush()
            self._transport.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(EXIT_WITHIN):
                await self._process.wait()
        kill_group(self._process.pid)
        await self._process.wait()
        words = self._words.take()
        if self._home is not None:
            home, self._home = self._home, None
            await asyncio.to_thread(shutil.rmtree, home, ignore_errors=True)
        return Ended(_exit(self._process.returncode or 0), self._ours), words

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not of this class, and do all the same.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        for body in frames.split(self._buffer):
            try:
                frame = frames.decode_from_worker(body)
            except DecodeError as error:
                log.error("a worker spoke nonsense; it is killed", pid=self.pid, reason=str(error))
                # Not for another job's sake: what runs in it counts this as a crash, or it would go on for ever.
                kill_group(self._process.pid)
                return
            self._hear(frame)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._closed.done():
            self._closed.set_result(None)

    def _hear(self, frame: FromWorker) -> None:
        match frame:
            case Ready() | Broken():
                if not self._first.done():
                    self._first.set_result(frame)
            case Health(error=error):
                if self._health is not None and not self._health.done():
                    self._health.set_result(error)
            case Parked():
                if self._moved is not None and not self._moved.done():
                    self._moved.set_result(frame)
            case Said(ids=[], text=text):
                # Between two runs it is nobody's.
                if not self._first.done():
                    self._setup.add(text)
                    if self._said is not None:
                        self._said(text)
            case _:
                self._heard(frame)

    async def _well(self, ready: Ready) -> None:
        if ready.healthcheck and (error := await self.healthy()) is not None:
            self.kill()
            await self.end()
            raise SetupFailed(f"setup failed: {error}", ready.log, cause=error)

    async def _unready(self, limit: float | None) -> SetupFailed:
        """It died in set-up, or reached the limit: then it is aborted, as its last words are where it stood."""
        if limit is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGABRT)
            with suppress(TimeoutError):
                async with asyncio.timeout(ABORT_WITHIN):
                    await self._closed_or_gone()
        ended, words = await self._finish()
        text = self._setup.text() + words
        file, line = _place(text, self._program.folder)
        cause = f"setup took longer than the limit of {limit:g} s" if limit else f"the worker died: {ended.reason}"
        reason = cause if limit else f"the worker died in setup: {ended.reason}"
        return SetupFailed(reason, text[-LONGEST_LOG:], file=file, line=line, cause=cause)

    def _write(self, data: bytes) -> None:
        """At once; but what follows in the same step of the loop goes out together: each time costs a system call."""
        if self._transport is None or self._transport.is_closing():
            return
        if self._held is not None:
            self._held.append(data)
            return
        self._transport.write(data)
        self._held = []
        self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        held, self._held = self._held, None
        if held and self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(held))

    async def _closed_or_gone(self) -> None:
        """A worker's children may hold its socket open, and a worker may close it and stay."""
        gone = asyncio.ensure_future(self._process.wait())
        try:
            await asyncio.wait([self._closed, gone], return_when=asyncio.FIRST_COMPLETED)
            if not self._closed.done():
                # What it said last may still be in the socket.
                await asyncio.wait([self._closed], timeout=0.2)
        finally:
            gone.cancel()


async def start(
    program: Program,
    heard: Callable[[FromWorker], None],
    said: Callable[[str], None] | None = None,
    *,
    home: str | None = None,
    given: Given = NOTHING,
) -> Instance:
    """A worker process in a session of its own, setting itself up.

    Its inputs and outputs lie in `home`; without one it gets a folder that is gone when it has ended.
    """
    own = scratch.worker() if home is None else None
    ours, theirs = socket.socketpair()
    words = Words()
    arguments = ["serve", str(program.folder), "--fd", str(theirs.fileno())]
    arguments += ["--log-fd", str(words.printed), "--fault-fd", str(words.fault)]
    arguments += ["--ref", program.ref, "--home", home or own or "", *(["--train"] if program.train else [])]
    try:
        process = await asyncio.create_subprocess_exec(
            program.python,
            program.host,
            *arguments,
            stdin=DEVNULL,
            stdout=words.output,
            stderr=words.output,
            env={**program.environment, **given.variables},
            pass_fds=(theirs.fileno(), words.printed, words.fault),
            start_new_session=True,
        )
    except BaseException:
        ours.close()
        words.take()
        if own is not None:
            shutil.rmtree(own, ignore_errors=True)
        raise
    finally:
        theirs.close()
        words.passed_on()
    _no_core(process.pid)
    _hold(process.pid, given)
    instance = Instance(process, program, words, own, heard, said)
    await asyncio.get_running_loop().create_unix_connection(lambda: instance, sock=ours)
    return instance


def environment(ours: Mapping[str, str], cache_dir: str, own: Mapping[str, str], inputs: str = "") -> dict[str, str]:
    """A worker's environment: a little of ours, and what its model asks for. `inputs` is not the model's to change."""
    passed = {name: value for name, value in ours.items() if PASSED_ON.fullmatch(name)}
    made = {**passed, "SAMOVAR_CACHE_DIR": cache_dir, **own}
    made.pop(_INPUTS, None)
    return {**made, _INPUTS: inputs} if inputs else made


def limits(size: int, timeout: float, *, private: bool) -> str:
    """Which files a worker may fetch, as `environment` passes it on."""
    return json.encode({"bytes": size, "timeout": timeout, "private": private}).decode()


def kill_group(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _no_core(pid: int) -> None:
    """A core dump of a large model takes minutes to write."""
    if sys.platform == "linux":
        with suppress(OSError):
            resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))


def _hold(pid: int, given: Given) -> None:
    """Before it computes: its threads are children of the one that there is now."""
    memory.expend(pid)
    if given.wall is not None:
        memory.wall(pid, given.wall)
    if given.cores:
        with suppress(OSError, AttributeError):
            os.sched_setaffinity(pid, given.cores)


def _exit(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def _broken(broken: Broken) -> SetupFailed:
    error = broken.error[:LONGEST_ERROR]
    return SetupFailed(
        f"{broken.stage} failed: {error}",
        broken.log[-LONGEST_LOG:],
        stage=broken.stage,
        file=broken.file,
        line=broken.line,
        cause=error.removeprefix(place(broken.file, broken.line)),
    )


def _place(text: str, folder: Path) -> tuple[str | None, int | None]:
    """The deepest place in the predictor's own files that a fatal error of the interpreter tells of."""
    _, _, dump = text.rpartition("Current thread ")
    for file, line in re.findall(r'File "([^"]+)", line (\d+)', dump or text):
        if Path(file).is_relative_to(folder.resolve()):
            return str(Path(file).relative_to(folder.resolve())), int(line)
    return None, None


class _Tail:
    """The end of a text that grows."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._size = 0

    def add(self, text: str) -> None:
        self._texts.append(text)
        self._size += len(text)
        if self._size > 2 * LONGEST_LOG:
            self._texts = [self.text()]
            self._size = len(self._texts[0])

    def text(self) -> str:
        return "".join(self._texts)[-LONGEST_LOG:]
