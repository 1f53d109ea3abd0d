"""The removal of deleted versions from this host."""

import asyncio
from typing import Protocol

import structlog
from msgspec import DecodeError
from nats.aio.msg import Msg

from schemas.models import decode_retired_versions

log = structlog.stdlib.get_logger()


class VersionPool(Protocol):
    """The pool, which ends a version's instances."""

    async def retire(self, version: str) -> None: ...


class VersionCache(Protocol):
    """The disk cache, which removes a version's files."""

    async def remove_version(self, version: str) -> None: ...


class VersionRemover:
    """The queue of deleted versions that this host still has to remove."""

    def __init__(self, pool: VersionPool, cache: VersionCache) -> None:
        self._pool = pool
        self._cache = cache
        self._queue: asyncio.Queue[str] = asyncio.Queue()

    async def receive(self, msg: Msg) -> None:
        """Queue the versions of a gateway's message."""
        try:
            versions = decode_retired_versions(msg.data).versions
        except (DecodeError, UnicodeDecodeError) as error:
            log.error("cannot decode a list of deleted versions", subject=msg.subject, reason=str(error))
            return
        for version in versions:
            self._queue.put_nowait(version)

    async def run(self) -> None:
        """Remove versions until canceled, each on its own: jobs of one may take their time to end."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                tasks.create_task(self._remove(await self._queue.get()))

    async def _remove(self, version: str) -> None:
        try:
            await self._pool.retire(version)
            await self._cache.remove_version(version)
        except Exception:
            log.exception("a deleted version was not removed", version=version[:12])
