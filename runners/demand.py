"""What wants loading: versions with jobs waiting."""

import asyncio
from contextlib import suppress
from typing import Final, Protocol

import structlog
from nats.aio.msg import Msg

from runners.errors import RunnerError

log = structlog.stdlib.get_logger()

LOOK_EVERY: Final = 5.0  # seconds; a wake that nobody heard is found out so


class Depths(Protocol):
    async def ensure(self) -> None: ...
    async def waiting(self, pool: str) -> dict[str, int]: ...


class Wanting(Protocol):
    def want(self, version: str) -> None: ...


class Demand:
    def __init__(self, streams: Depths, pool: Wanting, name: str) -> None:
        self._streams = streams
        self._pool = pool
        self._name = name
        self._look = asyncio.Event()

    async def woken(self, msg: Msg) -> None:
        """wake.<pool>.<version>"""
        self._pool.want(msg.subject.rpartition(".")[2])

    def look(self) -> None:
        """Now, and not at the next time."""
        self._look.set()

    async def watch(self) -> None:
        while True:
            try:
                for subject in await self._streams.waiting(self._name):
                    self._pool.want(version_of(subject))
            except RunnerError as error:
                log.debug("cannot see what waits", reason=str(error))
                await self.prepare()
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY):
                    await self._look.wait()
            self._look.clear()

    async def prepare(self) -> None:
        """Make the streams if they are missing."""
        try:
            await self._streams.ensure()
        except RunnerError as error:
            log.warning("JetStream does not answer", reason=str(error))


def version_of(subject: str) -> str:
    """jobs.<pool>.<model>.<version>.<lane>; of anything else, a version that nobody has."""
    return next(iter(subject.split(".")[3:4]), "")
