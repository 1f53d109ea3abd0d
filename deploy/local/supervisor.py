"""Keeping a part of the stack alive: one that dies is started again, one that keeps dying stops everything."""

import asyncio
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final, Never

from msgspec import Struct

from deploy.errors import Unstarted
from deploy.local.console import say
from deploy.local.pid_file import Ledger
from deploy.local.process import Command, end, last_words, start

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 5.0
LONG_LIFE: Final = 30.0  # seconds after which a death is an accident of its own
TRIES: Final = 6  # deaths in a row, in none of these lives healthy
LOOK_EVERY: Final = 0.1


class Part(Struct, frozen=True, kw_only=True):
    """A child to be kept alive."""

    command: Command
    healthy: Callable[[], Awaitable[bool]]
    """Asked from its start until it says yes."""
    before: Callable[[], None] = lambda: None
    """What is done before every start but the first: a dead one may have left something behind."""


class Keeper:
    """Owns one part's process."""

    def __init__(self, part: Part, ledger: Ledger) -> None:
        self._part = part
        self._ledger = ledger
        self._process: Process | None = None
        self.name = part.command.name
        self.healthy = asyncio.Event()
        """Set while the present process has shown that it works."""

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def keep(self) -> Never:
        """Raises `Unstarted` with its last words when it keeps dying."""
        deaths, pause = 0, FIRST_PAUSE
        while True:
            code, lived, healthy = await self._live()
            deaths = 0 if healthy else deaths + 1
            pause = FIRST_PAUSE if lived >= LONG_LIFE else pause
            if deaths >= TRIES:
                raise Unstarted(
                    f"{self.name} does not stay up: it ended {deaths} times, the last time by {how(code)}. "
                    f"Its last words, from {self._part.command.log}:\n{last_words(self._part.command.log)}"
                )
            say(f"{self.name} ended by {how(code)} after {lived:.1f} s; it is started again in {pause:g} s")
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
            await asyncio.to_thread(self._part.before)

    async def end(self) -> None:
        if self._process:
            await end(self._process, self._part.command)

    async def _live(self) -> tuple[int, float, bool]:
        """One life: its exit status, its length, and whether it was ever healthy."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        self._process = process = await start(self._part.command)
        self._ledger.record(self.name, process.pid)
        async with asyncio.TaskGroup() as group:
            look = group.create_task(self._look())
            code = await process.wait()
            look.cancel()
        healthy = self.healthy.is_set()
        self.healthy.clear()
        return code, loop.time() - began, healthy

    async def _look(self) -> None:
        while not await self._part.healthy():  # noqa: ASYNC110 - it is another process that we wait for
            await asyncio.sleep(LOOK_EVERY)
        self.healthy.set()


@asynccontextmanager
async def supervised(part: Part, ledger: Ledger, group: asyncio.TaskGroup) -> AsyncGenerator[Keeper]:
    """Kept alive inside, ended on leaving. `group` is left with its error when it cannot be kept alive."""
    keeper = Keeper(part, ledger)
    task = group.create_task(keeper.keep())
    try:
        yield keeper
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await task
        await keeper.end()


def how(code: int) -> str:
    """An exit status in words."""
    if code >= 0:
        return f"exit status {code}"
    with suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"
