"""What wants loading: services with jobs waiting."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final, Protocol

import structlog
from nats.aio.msg import Msg

from runners.errors import RunnerError
from schemas import subjects
from schemas.models import Release

log = structlog.stdlib.get_logger()

LOOK_EVERY: Final = 5.0  # seconds; a wake that nobody heard is found out so


class Depths(Protocol):
    async def ensure(self) -> None: ...
    async def waiting(self, pool: str) -> dict[str, int]: ...


class Wanting(Protocol):
    @property
    def here(self) -> set[str]: ...
    def want(self, service: str) -> None: ...
    def want_more(self, service: str) -> bool: ...


class Taken(Protocol):
    async def taken(self) -> set[str]: ...


class Wire(Protocol):
    async def publish(self, subject: str, payload: bytes = b"") -> None: ...


class Demand:
    def __init__(
        self,
        link: Wire,
        streams: Depths,
        claims: Taken,
        pool: Wanting,
        name: str,
        releases: Callable[[], Mapping[str, Release]],
    ) -> None:
        self._link = link
        self._streams = streams
        self._claims = claims
        self._pool = pool
        self._name = name
        self._releases = releases
        self._look = asyncio.Event()

    async def woken(self, msg: Msg) -> None:
        """wake.<pool>.<version>"""
        if (service := self._service(*msg.subject.split(".")[1:])) is not None:
            self._pool.want(service)

    async def more(self, msg: Msg) -> None:
        """runners.more.<pool>.<version>"""
        if (service := self._service(*msg.subject.split(".")[2:])) is not None:
            self._pool.want_more(service)

    async def ask_for_more(self, service: str) -> None:
        """Of hosts that have room: its queue here is deep."""
        try:
            pool = subjects.pool_of(service) or self._name
            await self._link.publish(subjects.more(pool, subjects.version_of(service)))
        except RunnerError as error:
            log.debug("nobody was asked for more", service=service, reason=str(error))

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
        found = await self._streams.waiting("*" if self._releases() else self._name)
        queues = [queue for subject in found if (queue := subjects.queue_of(subject)) is not None]
        waiting = {service for each in queues if (service := self._service(each.pool, each.version)) is not None}
        elsewhere = (await self._claims.taken() if waiting else set[str]()) - self._pool.here
        for service in waiting - elsewhere:
            self._pool.want(service)

    def _service(self, pool: str, version: str) -> str | None:
        """None for one that is not for this host."""
        service = subjects.service(pool, version)
        return service if pool == self._name or service in self._releases() else None

    async def prepare(self) -> None:
        """Make the streams if they are missing."""
        try:
            await self._streams.ensure()
        except RunnerError as error:
            log.warning("JetStream does not answer", reason=str(error))
