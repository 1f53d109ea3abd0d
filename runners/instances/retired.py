"""Versions that were deleted: what this agent has of them goes."""

import asyncio
from typing import Protocol

import structlog
from msgspec import DecodeError
from nats.aio.msg import Msg

from schemas.models import decode_retired

log = structlog.stdlib.get_logger()


class Serving(Protocol):
    async def retire(self, version: str) -> None: ...


class Keeping(Protocol):
    async def forget(self, version: str) -> None: ...


class Retired:
    def __init__(self, pool: Serving, packs: Keeping) -> None:
        self._pool = pool
        self._packs = packs
        self._told: asyncio.Queue[str] = asyncio.Queue()

    async def heard(self, msg: Msg) -> None:
        try:
            versions = decode_retired(msg.data).versions
        except (DecodeError, UnicodeDecodeError) as error:
            log.error("a message that cannot be read", subject=msg.subject, reason=str(error))
            return
        for version in versions:
            self._told.put_nowait(version)

    async def forget(self) -> None:
        """Each on its own: jobs of one may take their time to end."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                tasks.create_task(self._forget(await self._told.get()))

    async def _forget(self, version: str) -> None:
        try:
            await self._pool.retire(version)
            await self._packs.forget(version)
        except Exception:
            log.exception("a deleted version was not forgotten", version=version[:12])
