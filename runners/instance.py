"""One worker process: started, spoken to in frames, stopped."""

import asyncio
import os
import re
import resource
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, cast

import structlog
from msgspec import DecodeError, Struct

from runners.errors import SetupFailed
from runners.worker import frames
from runners.worker.frames import Broken, FromWorker, Item, Ready, Run, Stop

log = structlog.stdlib.get_logger()

HOST: Final = Path(__file__).parent / "worker" / "host.py"
LAST_WORDS: Final = 2_000  # characters
LONGEST_ERROR: Final = 8_000  # characters
LONGEST_LOG: Final = 100_000
EXIT_WITHIN: Final = 2.0  # seconds after its socket was closed

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


class Ended(Struct, frozen=True):
    """How a worker process ended."""

    reason: str
    ours: bool


class Instance(asyncio.Protocol):
    """The agent's end of a worker. Every frame but the first goes to `heard`."""

    def __init__(self, process: Process, words: int, heard: Callable[[FromWorker], None]) -> None:
        self._process = process
        self._words = words
        self._heard = heard
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        loop = asyncio.get_running_loop()
        self._first: asyncio.Future[Ready | Broken] = loop.create_future()
        self._closed: asyncio.Future[None] = loop.create_future()
        self._ours = False
        self._paused = False

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ready(self, within: float) -> Ready:
        """Raises `SetupFailed`."""
        exits = asyncio.ensure_future(self._closed_or_gone())
        try:
            await asyncio.wait([self._first, exits], timeout=within, return_when=asyncio.FIRST_COMPLETED)
        finally:
            exits.cancel()
        if self._first.done():
            match self._first.result():
                case Ready() as ready:
                    return ready
                case Broken(stage=stage, error=error, log=text):
                    await self.end()
                    raise SetupFailed(f"{stage} failed: {error[:LONGEST_ERROR]}", text[-LONGEST_LOG:])
        late = not exits.done() or exits.cancelled()
        ended = await self.end()
        if late:
            raise SetupFailed(f"setup took longer than the limit of {within:g} s", "")
        raise SetupFailed(f"the worker died in setup: {ended.reason}", "")

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
        if self._transport is not None:
            self._transport.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(EXIT_WITHIN):
                await self._process.wait()
        kill_group(self._process.pid)
        await self._process.wait()
        words = self._last_words()
        return Ended(f"{_exit(self._process.returncode or 0)}{words}", self._ours)

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
            case _:
                self._heard(frame)

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

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

    def _last_words(self) -> str:
        """What it printed and did not say: a fatal error of the interpreter, for one."""
        if self._words < 0:
            return ""
        said = b""
        with suppress(BlockingIOError):
            while piece := os.read(self._words, 65536):
                said = (said + piece)[-4 * LAST_WORDS :]
        os.close(self._words)
        self._words = -1
        text = said.decode(errors="replace").replace("\0", "\ufffd").strip()[-LAST_WORDS:]
        return f"; last words: {text}" if text else ""


async def start(program: Program, heard: Callable[[FromWorker], None]) -> Instance:
    """A worker process in a session of its own, setting itself up."""
    ours, theirs = socket.socketpair()
    read, write = os.pipe()
    os.set_blocking(read, False)
    arguments = ["serve", str(program.folder), "--fd", str(theirs.fileno()), "--log-fd", str(read)]
    try:
        process = await asyncio.create_subprocess_exec(
            program.python,
            program.host,
            *arguments,
            "--ref",
            program.ref,
            stdin=DEVNULL,
            stdout=write,
            stderr=write,
            env=dict(program.environment),
            pass_fds=(theirs.fileno(), read),
            start_new_session=True,
        )
    except BaseException:
        ours.close()
        os.close(read)
        raise
    finally:
        theirs.close()
        os.close(write)
    _no_core(process.pid)
    instance = Instance(process, read, heard)
    await asyncio.get_running_loop().create_unix_connection(lambda: instance, sock=ours)
    return instance


def environment(ours: Mapping[str, str], cache_dir: str, own: Mapping[str, str]) -> dict[str, str]:
    """A worker's environment: a little of ours, and what its model asks for."""
    passed = {name: value for name, value in ours.items() if PASSED_ON.fullmatch(name)}
    return {**passed, "SAMOVAR_CACHE_DIR": cache_dir, **own}


def kill_group(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _no_core(pid: int) -> None:
    """A core dump of a large model takes minutes to write."""
    if sys.platform == "linux":
        with suppress(OSError):
            resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))


def _exit(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
