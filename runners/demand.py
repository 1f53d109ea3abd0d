"""What wants loading: versions with jobs waiting."""

import asyncio
from contextlib import suppress
from typing import Final, Protocol

import structlog
from nats.aio.msg import Msg

from runners.errors import RunnerError
from schemas import subjects

log = structlog.stdlib.get_logger()

LOOK_EVERY: Final = 5.0  # seconds; a wake that nobody heard is found out so


class Depths(Protocol):
    async def ensure(self) -> None: ...
    async def waiting(self, pool: str) -> dict[str, int]: ...


class Wanting(Protocol):
    @property
    def here(self) -> set[str]: ...
    def want(self, version: str) -> None: ...
    def want_more(self, version: str) -> bool: ...


class Taken(Protocol):
    async def taken(self) -> set[str]: ...


class Wire(Protocol):
    async def publish(self, subject: str, payload: bytes = b"") -> None: ...


class Demand:
    def __init__(self, link: Wire, streams: Depths, claims: Taken, pool: Wanting, name: str) -> None:
        self._link = link
        self._streams = streams
        self._claims = claims
        self._pool = pool
        self._name = name
        self._look = asyncio.Event()

    async def woken(self, msg: Msg) -> None:
        """wake.<pool>.<version>"""
        self._pool.want(msg.subject.rpartition(".")[2])

    async def more(self, msg: Msg) -> None:
        """runners.more.<pool>.<version>"""
        self._pool.want_more(msg.subject.rpartition(".")[2])

    async def ask_for_more(self, version: str) -> None:
        """Of hosts that have room: its queue here is deep."""
        try:
            await self._link.publish(subjects.more(self._name, version))
        except RunnerError as error:
            log.debug("nobody was asked for more", version=version[:12], reason=str(error))

    def look(self) -> None:
        """Now, and not at the next time."""
        self._look.set()

    async def watch(self) -> None:
        while True:
            try:
                await self._want()
            except RunnerError as error:
                log.debug("cannot see what waits", reason=str(error))
                await self.prepare()
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY):
                    await self._look.wait()
            self._look.clear()

    async def _want(self) -> None:
        """What waits and is nobody's. Of what somebody has, the queue is theirs to work off."""
        waiting = {version_of(subject) for subject in await self._streams.waiting(self._name)}
        elsewhere = (await self._claims.taken() if waiting else set[str]()) - self._pool.here
        for version in waiting - elsewhere:
            self._pool.want(version)

    async def prepare(self) -> None:
        """Make the streams if they are missing."""
        try:
            await self._streams.ensure()
        except RunnerError as error:
            log.warning("JetStream does not answer", reason=str(error))


def version_of(subject: str) -> str:
    """jobs.<pool>.<model>.<version>.<lane>; of anything else, a version that nobody has."""
    return next(iter(subject.split(".")[3:4]), "")
