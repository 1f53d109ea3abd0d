"""Removes what predictions were given and said, a while after their end; that they were made, and when, stays."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import structlog

from gateway.background import every
from gateway.cleanup.garbage import YOUNG_INPUT
from gateway.errors import NotFound
from gateway.files.store import Files
from gateway.predictions.inputs import files_in
from gateway.store.retention import Content, Free
from schemas import keys

log = structlog.get_logger("samovar.retention")

EVERY: Final = 60.0  # seconds, or more often where less is kept
LEAST: Final = 0.25
MOST: Final = 100


class Old(Protocol):
    async def remove(
        self, source: str, after: timedelta, most: int, leave: Sequence[str], free: Free
    ) -> tuple[list[str], int]: ...


class Keys(Protocol):
    async def drop_old(self, most: int) -> int: ...


class InUse(Protocol):
    """What predictions need that have not ended."""

    async def inputs_with_files(self) -> list[str]: ...
    async def large_inputs(self) -> list[str]: ...


class Retention:
    """`kept` says for how many seconds, by source; 0: for ever."""

    def __init__(self, old: Old, in_use: InUse, idempotency: Keys, files: Files, kept: dict[str, float]) -> None:
        self._old = old
        self._in_use = in_use
        self._idempotency = idempotency
        self._files = files
        self._kept = {source: timedelta(seconds=seconds) for source, seconds in kept.items() if seconds}

    async def serve(self) -> None:
        """Until it is cancelled."""
        spans = [after.total_seconds() for after in self._kept.values()]
        await every(max(min([EVERY, *spans]), LEAST), self.sweep, "retention")

    async def sweep(self) -> int:
        """How many predictions had what they said removed."""
        while await self._idempotency.drop_old(MOST * 10):
            pass
        return sum([await self._remove(source, after) for source, after in self._kept.items()])

    async def _remove(self, source: str, after: timedelta) -> int:
        """What cannot be removed yet is left for the next time, and holds up nothing else."""
        removed, left = 0, list[str]()
        while True:
            seen, done = await self._old.remove(source, after, MOST, left, self._free)
            removed += done
            if done < len(seen):
                left += seen  # of which those that are done are not found again anyway
            if len(seen) < MOST:
                break
        if removed:
            log.info("content_removed", predictions=removed, source=source)
        return removed

    async def _free(self, contents: Sequence[Content]) -> list[str]:
        """Files that are the input of a prediction which has not ended stay until it has."""
        needed = set[str]()
        if any(content.files for content in contents):
            needed = {key for input in await self._in_use.inputs_with_files() for key in files_in(input)}
        if large := {content.large for content in contents if content.large}:
            await self._free_inputs(large - set(await self._in_use.large_inputs()))
        free = [content for content in contents if needed.isdisjoint(content.files)]
        await asyncio.gather(*(self._files.remove(key) for content in free for key in content.files))
        await asyncio.gather(*(self._free_values(content.id) for content in free if content.spilled))
        return [content.id for content in free]

    async def _free_values(self, id: str) -> None:
        """No result names them, so they are looked for."""
        async for some in self._files.listed(keys.outputs(id)):
            await asyncio.gather(*(self._files.remove(each.key) for each in some))

    async def _free_inputs(self, digests: set[str]) -> None:
        """Those that were just written may be on their way into use."""
        for key in map(keys.input, digests):
            try:
                if (await self._files.about(key)).modified < datetime.now(UTC) - YOUNG_INPUT:
                    await self._files.remove(key)
            except NotFound:
                pass
