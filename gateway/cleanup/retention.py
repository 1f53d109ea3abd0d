"""Retention: removal of predictions' inputs, outputs, logs and files some time after their end.

That they were made, and when, stays.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import structlog

from gateway.background import run_every
from gateway.cleanup.garbage import MIN_INPUT_AGE
from gateway.errors import NotFound
from gateway.files.store import FileStore
from gateway.predictions.inputs import find_files
from gateway.store.retention import ExpiredContent, FreeFiles
from schemas import keys

log = structlog.get_logger("samovar.retention")

MAX_SWEEP_SECONDS: Final = 60.0  # between sweeps, or less where content is kept for less
MIN_SWEEP_SECONDS: Final = 0.25
MAX_BATCH: Final = 100


class ContentRemover(Protocol):
    """The removal of expired content from the database."""

    async def remove_expired(
        self, source: str, after: timedelta, limit: int, skip: Sequence[str], free_files: FreeFiles
    ) -> tuple[list[str], int]: ...


class IdempotencyKeys(Protocol):
    """The idempotency keys of the database."""

    async def delete_expired(self, limit: int) -> int: ...


class UnfinishedInputs(Protocol):
    """The files that unfinished predictions need."""

    async def inputs_naming_files(self) -> list[str]: ...
    async def large_input_digests(self) -> list[str]: ...


class Retention:
    """Removes the content of predictions that ended long enough ago, and expired idempotency keys.

    `seconds` says for how long content is kept, by the predictions' source; 0: for ever.
    """

    def __init__(
        self,
        content: ContentRemover,
        unfinished: UnfinishedInputs,
        idempotency: IdempotencyKeys,
        files: FileStore,
        seconds: dict[str, float],
    ) -> None:
        self._content = content
        self._unfinished = unfinished
        self._idempotency = idempotency
        self._files = files
        self._ages = {source: timedelta(seconds=seconds) for source, seconds in seconds.items() if seconds}

    async def serve(self) -> None:
        """Sweep until canceled."""
        spans = [after.total_seconds() for after in self._ages.values()]
        await run_every(max(min([MAX_SWEEP_SECONDS, *spans]), MIN_SWEEP_SECONDS), self.sweep, "retention")

    async def sweep(self) -> int:
        """Remove all that has expired, and return of how many predictions."""
        while await self._idempotency.delete_expired(MAX_BATCH * 10):
            pass
        return sum([await self._remove(source, after) for source, after in self._ages.items()])

    async def _remove(self, source: str, after: timedelta) -> int:
        """Remove expired content of one source; what cannot be removed yet is left for the next sweep."""
        removed, skipped = 0, list[str]()
        while True:
            seen, done = await self._content.remove_expired(source, after, MAX_BATCH, skipped, self._free_files)
            removed += done
            if done < len(seen):
                skipped += seen  # those that are done are not found again anyway
            if len(seen) < MAX_BATCH:
                break
        if removed:
            log.info("content_removed", predictions=removed, source=source)
        return removed

    async def _free_files(self, contents: Sequence[ExpiredContent]) -> list[str]:
        """Remove the files of some predictions, and return the ids of those whose files are gone.

        A file that is also an input of an unfinished prediction stays until that has ended.
        """
        needed = set[str]()
        if any(content.files for content in contents):
            needed = {key for input in await self._unfinished.inputs_naming_files() for key in find_files(input)}
        if large := {content.large_input for content in contents if content.large_input}:
            await self._free_inputs(large - set(await self._unfinished.large_input_digests()))
        free = [content for content in contents if needed.isdisjoint(content.files)]
        await asyncio.gather(*(self._files.remove(key) for content in free for key in content.files))
        await asyncio.gather(*(self._free_values(content.id) for content in free if content.has_large_values))
        return [content.id for content in free]

    async def _free_values(self, id: str) -> None:
        """Remove large values of an output, which no result names, so they have to be searched for."""
        async for some in self._files.list_files(keys.outputs(id)):
            await asyncio.gather(*(self._files.remove(each.key) for each in some))

    async def _free_inputs(self, digests: set[str]) -> None:
        """Remove large inputs, except those that were just written: they may be about to be used."""
        for key in map(keys.input, digests):
            try:
                if (await self._files.stat(key)).modified < datetime.now(UTC) - MIN_INPUT_AGE:
                    await self._files.remove(key)
            except NotFound:
                pass
