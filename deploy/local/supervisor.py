"""Supervision of the stack's services: one that dies is restarted, one that keeps dying stops everything."""

import asyncio
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final, Never

from msgspec import Struct

from deploy.errors import StartFailed
from deploy.local.console import print_message
from deploy.local.pid_file import PidFile
from deploy.local.process import Command, last_output, start_process, stop_process

MIN_RESTART_DELAY: Final = 0.1  # seconds
MAX_RESTART_DELAY: Final = 5.0  # seconds
STABLE_SECONDS: Final = 30.0  # a service that lived longer is restarted after the minimal delay
MAX_FAILURES: Final = 6  # in a row, without ever having been healthy
HEALTH_CHECK_SECONDS: Final = 0.1


class Service(Struct, frozen=True, kw_only=True):
    """A child process to keep alive."""

    command: Command
    is_healthy: Callable[[], Awaitable[bool]]
    """Called after each start, again and again until it returns True."""
    before_restart: Callable[[], None] = lambda: None
    """Called before every start but the first: a dead process may have left something behind."""


class ServiceSupervisor:
    """Runs one service, and restarts it when it dies. It owns the process; `up` owns one of these per service."""

    def __init__(self, service: Service, pid_file: PidFile) -> None:
        self._service = service
        self._pid_file = pid_file
        self._process: Process | None = None
        self.name = service.command.name
        self.healthy = asyncio.Event()
        """Set once the present process has proved healthy."""

    @property
    def pid(self) -> int | None:
        """The pid of the present process, or of the last one."""
        return self._process.pid if self._process else None

    async def run(self) -> Never:
        """Start the service, and restart it whenever it ends. Raises `StartFailed` when it keeps ending."""
        failures, delay = 0, MIN_RESTART_DELAY
        while True:
            code, seconds, was_healthy = await self._run_once()
            failures = 0 if was_healthy else failures + 1
            delay = MIN_RESTART_DELAY if seconds >= STABLE_SECONDS else delay
            if failures >= MAX_FAILURES:
                raise StartFailed(
                    f"{self.name} does not stay up: it ended {failures} times, the last time by {describe_exit(code)}. "
                    f"Its last output, from {self._service.command.log}:\n{last_output(self._service.command.log)}"
                )
            print_message(
                f"{self.name} ended by {describe_exit(code)} after {seconds:.1f} s; it restarts in {delay:g} s"
            )
            await asyncio.sleep(delay)
            delay = min(delay * 2, MAX_RESTART_DELAY)
            await asyncio.to_thread(self._service.before_restart)

    async def stop(self) -> None:
        """Stop the process, if one was started."""
        if self._process:
            await stop_process(self._process, self._service.command)

    async def _run_once(self) -> tuple[int, float, bool]:
        """Run the process once. Returns its exit status, how long it ran (seconds), and whether it was ever healthy."""
        loop = asyncio.get_running_loop()
        started_at = loop.time()
        self._process = process = await start_process(self._service.command)
        self._pid_file.record(self.name, process.pid)
        async with asyncio.TaskGroup() as group:
            health_check = group.create_task(self._check_health())
            code = await process.wait()
            health_check.cancel()
        was_healthy = self.healthy.is_set()
        self.healthy.clear()
        return code, loop.time() - started_at, was_healthy

    async def _check_health(self) -> None:
        while not await self._service.is_healthy():  # noqa: ASYNC110 - another process makes it healthy
            await asyncio.sleep(HEALTH_CHECK_SECONDS)
        self.healthy.set()


@asynccontextmanager
async def supervise(service: Service, pid_file: PidFile, group: asyncio.TaskGroup) -> AsyncGenerator[ServiceSupervisor]:
    """Keep a service alive inside the block, and stop it on leaving. `group` fails when the service keeps ending."""
    supervisor = ServiceSupervisor(service, pid_file)
    task = group.create_task(supervisor.run())
    try:
        yield supervisor
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await task
        await supervisor.stop()


def describe_exit(code: int) -> str:
    """Describe an exit status: `exit status 1`, or the name of a signal."""
    if code >= 0:
        return f"exit status {code}"
    with suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"
