"""A worker process, and the agent's end of the socket to it."""

import asyncio
import os
import resource
import shutil
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, cast

import structlog
from msgspec import DecodeError, Struct

from runners.errors import SetupFailed
from runners.placement.limits import WorkerLimits
from runners.process import memory, scratch, setup_failure
from runners.process.last_output import LastOutput
from runners.process.program import Program
from runners.process.setup_failure import SetupLog
from runners.process.subprocesses import kill_process_group
from runners.worker import frames
from runners.worker.frames import Check, FromWorker, Health, Item, LoadFailed, LogText, Park, Parked, Ready, Run, Stop

log = structlog.stdlib.get_logger()

MAX_LAST_OUTPUT_CHARS: Final = 2_000
EXIT_SECONDS: Final = 2.0  # from closing its socket until it is killed
ABORT_SECONDS: Final = 1.0  # for writing down where it stands
HEALTHCHECK_SECONDS: Final = 5.0
NO_LIMITS: Final = WorkerLimits()


class ProcessExit(Struct, frozen=True):
    """The end of a worker process."""

    reason: str
    killed_by_us: bool


class WorkerProcess(asyncio.Protocol):
    """A running worker process and the socket to it.

    It owns the process, its pipes and its home folder. What the worker prints until it is ready goes to
    `on_setup_output`, and the frames it sends after that to `on_frame`. Instances, builds and trainings use it.
    """

    def __init__(
        self,
        process: Process,
        program: Program,
        output: LastOutput,
        home: str | None,
        on_frame: Callable[[FromWorker], None],
        on_setup_output: Callable[[str], None] | None,
    ) -> None:
        """Without a `home` of its own, there is no folder to remove when the process ends."""
        self._process = process
        self._program = program
        self._output = output
        self._home = home
        self._on_frame = on_frame
        self._on_setup_output = on_setup_output
        self._setup_log = SetupLog()
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._unsent: list[bytes] | None = None
        """Frames since something was sent in this step of the event loop; None if nothing was sent in it."""
        self._loop = loop = asyncio.get_running_loop()
        self._start: asyncio.Future[Ready | LoadFailed] = loop.create_future()
        self._health: asyncio.Future[str | None] | None = None
        self._move: asyncio.Future[Parked] | None = None
        self._closed: asyncio.Future[None] = loop.create_future()
        self._killed_by_us = False
        self._is_paused = False

    @property
    def pid(self) -> int:
        """The process id, which is its group's as well."""
        return self._process.pid

    async def wait_ready(self, timeout: float) -> Ready:
        """Wait until the worker is set up, and check its health if it can. Raises `SetupFailed`."""
        has_ended = await self._wait_for(self._start, timeout)
        if not self._start.done():
            raise await self._setup_failure(None if has_ended else timeout)
        match self._start.result():
            case Ready() as ready:
                await self._verify_health(ready)
                return ready
            case LoadFailed() as failed:
                await self.shut_down()
                raise setup_failure.from_report(failed)

    async def check_health(self, timeout: float = HEALTHCHECK_SECONDS) -> str | None:
        """Call its `healthcheck` and return why it is unhealthy; None if it is healthy."""
        if self._health is None:  # else it still owes an answer
            self._health = self._loop.create_future()
            self._write(frames.encode_frame(Check()))
        await self._wait_for(self._health, timeout)
        if not self._health.done():
            return f"healthcheck gave no answer within {timeout:g} s"
        answer, self._health = self._health.result(), None
        return answer

    async def set_parked(self, parked: bool, timeout: float) -> Parked | None:
        """Have it leave its device, or come back, while nothing runs in it; None if it does not answer in time."""
        self._move = self._loop.create_future()
        self._write(frames.encode_frame(Park(parked)))
        await self._wait_for(self._move, timeout)
        return self._move.result() if self._move.done() else None

    def run(self, items: list[Item]) -> None:
        """Send a batch of items to run."""
        self._write(frames.encode_frame(Run(items)))

    def stop(self, ids: list[str]) -> None:
        """Ask it to stop these items; a signal makes a busy worker look."""
        self._write(frames.encode_frame(Stop(ids)))
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGUSR1)

    def pause(self) -> None:
        """Stop reading: the worker blocks once its socket is full."""
        if self._transport is not None and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read again after `pause`."""
        if self._transport is not None and self._is_paused and not self._transport.is_closing():
            self._is_paused = False
            self._transport.resume_reading()

    def kill(self) -> None:
        """Kill it at once, with all the processes that it started."""
        if self._process.returncode is None:
            # Later, the number may be another process's.
            self._killed_by_us = True
            kill_process_group(self._process.pid)

    async def wait_exit(self) -> ProcessExit:
        """Wait until it has ended for whatever reason; nothing of its process group is left then."""
        await self._wait_closed()
        return await self.shut_down()

    async def shut_down(self) -> ProcessExit:
        """Close the socket, which ends it, and kill what does not end."""
        ended, output = await self._close()
        last = output.strip()[-MAX_LAST_OUTPUT_CHARS:]
        return ProcessExit(f"{ended.reason}; last output: {last}" if last else ended.reason, ended.killed_by_us)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not of this class, and work all the same.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        for body in frames.take_frames(self._buffer):
            try:
                frame = frames.decode_from_worker(body)
            except DecodeError as error:
                log.error("a worker sent an invalid frame and is killed", pid=self.pid, reason=str(error))
                # Not `kill`: what runs in it must count this as a crash, or it would be repeated for ever.
                kill_process_group(self._process.pid)
                return
            self._receive(frame)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._closed.done():
            self._closed.set_result(None)

    def _receive(self, frame: FromWorker) -> None:
        match frame:
            case Ready() | LoadFailed():
                if not self._start.done():
                    self._start.set_result(frame)
            case Health(error=error):
                if self._health is not None and not self._health.done():
                    self._health.set_result(error)
            case Parked():
                if self._move is not None and not self._move.done():
                    self._move.set_result(frame)
            case LogText(ids=[], text=text):
                # What is printed between two runs belongs to no job.
                if not self._start.done():
                    self._setup_log.add(text)
                    if self._on_setup_output is not None:
                        self._on_setup_output(text)
            case _:
                self._on_frame(frame)

    async def _verify_health(self, ready: Ready) -> None:
        if ready.healthcheck and (error := await self.check_health()) is not None:
            self.kill()
            await self.shut_down()
            raise SetupFailed(f"setup failed: {error}", ready.log, cause=error)

    async def _setup_failure(self, limit: float | None) -> SetupFailed:
        """Describe why it died in setup, or reached the limit: then it is aborted, which prints where it stood."""
        if limit is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGABRT)
            with suppress(TimeoutError):
                async with asyncio.timeout(ABORT_SECONDS):
                    await self._wait_closed()
        ended, output = await self._close()
        return setup_failure.from_exit(ended.reason, self._setup_log.text() + output, self._program.folder, limit)

    async def _close(self) -> tuple[ProcessExit, str]:
        """End it, and return how it ended and its last output: a fatal error of the interpreter, for one."""
        if self._transport is not None:
            self._flush()
            self._transport.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(EXIT_SECONDS):
                await self._process.wait()
        kill_process_group(self._process.pid)
        await self._process.wait()
        output = self._output.read_rest()
        if self._home is not None:
            home, self._home = self._home, None
            await asyncio.to_thread(shutil.rmtree, home, ignore_errors=True)
        return ProcessExit(setup_failure.exit_reason(self._process.returncode or 0), self._killed_by_us), output

    def _write(self, data: bytes) -> None:
        """Send at once; what follows in the same step of the loop goes out together: each time costs a system call."""
        if self._transport is None or self._transport.is_closing():
            return
        if self._unsent is not None:
            self._unsent.append(data)
            return
        self._transport.write(data)
        self._unsent = []
        self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, None
        if unsent and self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(unsent))

    async def _wait_for(self, answer: asyncio.Future[Any], timeout: float) -> bool:
        """Wait for an answer, the end of the process, or the timeout; return whether the process has ended."""
        exits = asyncio.ensure_future(self._wait_closed())
        try:
            await asyncio.wait([answer, exits], timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            exits.cancel()
        return exits.done() and not exits.cancelled()

    async def _wait_closed(self) -> None:
        """Wait for the process or its socket: its children may hold that open, and it may close that and stay."""
        gone = asyncio.ensure_future(self._process.wait())
        try:
            await asyncio.wait([self._closed, gone], return_when=asyncio.FIRST_COMPLETED)
            if not self._closed.done():
                # Its last frames may still be in the socket.
                await asyncio.wait([self._closed], timeout=0.2)
        finally:
            gone.cancel()


async def start_worker(
    program: Program,
    on_frame: Callable[[FromWorker], None],
    on_setup_output: Callable[[str], None] | None = None,
    *,
    home: str | None = None,
    limits: WorkerLimits = NO_LIMITS,
) -> WorkerProcess:
    """Start a worker process in its own session; it sets itself up.

    Its inputs and outputs are in `home`; without one it gets a folder that is removed when it ends.
    """
    own_home = scratch.create_worker_folder() if home is None else None
    ours, theirs = socket.socketpair()
    output = LastOutput()
    try:
        process = await asyncio.create_subprocess_exec(
            program.python,
            program.host,
            *_arguments(program, theirs.fileno(), output, home or own_home or ""),
            stdin=DEVNULL,
            stdout=output.output_writer,
            stderr=output.output_writer,
            env={**program.environment, **limits.variables},
            pass_fds=(theirs.fileno(), output.output_reader, output.fault_writer),
            start_new_session=True,
        )
    except BaseException:
        ours.close()
        output.read_rest()
        if own_home is not None:
            shutil.rmtree(own_home, ignore_errors=True)
        raise
    finally:
        theirs.close()
        output.close_worker_ends()
    _disable_core_dump(process.pid)
    _apply_limits(process.pid, limits)
    worker = WorkerProcess(process, program, output, own_home, on_frame, on_setup_output)
    await asyncio.get_running_loop().create_unix_connection(lambda: worker, sock=ours)
    return worker


def _arguments(program: Program, fd: int, output: LastOutput, home: str) -> list[str]:
    arguments = ["serve", str(program.folder), "--fd", str(fd)]
    arguments += ["--log-fd", str(output.output_reader), "--fault-fd", str(output.fault_writer)]
    return [*arguments, "--ref", program.ref, "--home", home, *(["--train"] if program.train else [])]


def _disable_core_dump(pid: int) -> None:
    """Prevent a core dump: that of a large model takes minutes to write."""
    if sys.platform == "linux":
        with suppress(OSError):
            resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))


def _apply_limits(pid: int, limits: WorkerLimits) -> None:
    """Limit a process before it computes: its later threads inherit from the only one that it has now."""
    memory.prefer_for_oom_kill(pid)
    if limits.memory_limit is not None:
        memory.limit_allocations(pid, limits.memory_limit)
    if limits.cores:
        with suppress(OSError, AttributeError):
            os.sched_setaffinity(pid, limits.cores)
