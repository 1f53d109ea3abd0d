"""Output values that are too large for an event, put back into the places that it left for them."""

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Final, Protocol

from msgspec import Raw, structs

from gateway.errors import NotFound
from schemas.events import Crashed, Event, Log, Started
from schemas.prediction import EventGap

MAX_CONCURRENT_READS: Final = 16  # files of one event


class FileReader(Protocol):
    """The file store, as far as it is read."""

    async def read(self, key: str) -> bytes: ...


class LargeValues:
    """The reader of large values, which travel through the file store."""

    def __init__(self, files: FileReader) -> None:
        self._files = files

    async def restore(self, events: Sequence[Event]) -> list[Event]:
        """Return the events with all of their values.

        Raises `EventGap` when a value is not stored any more, or has another digest, and `FileStoreUnavailable`.
        """
        return [await self._restore_event(event) if has_stored_values(event) else event for event in events]

    async def _restore_event(self, event: Event) -> Event:
        if isinstance(event, Started | Log | Crashed):
            return event
        values, indexes = list(event.values), list(event.stored)
        for start in range(0, len(indexes), MAX_CONCURRENT_READS):
            batch = indexes[start : start + MAX_CONCURRENT_READS]
            contents = await asyncio.gather(*(self._read(event.stored[index]) for index in batch))
            for index, value in zip(batch, contents, strict=True):
                values[index] = value
        return structs.replace(event, values=values, stored={})

    async def _read(self, key: str) -> Raw:
        try:
            text = await self._files.read(key)
        except NotFound as error:
            raise EventGap from error
        if key.rpartition("/")[2] != f"{await asyncio.to_thread(_digest, text)}.json":
            raise EventGap
        return Raw(text)


def has_stored_values(event: Event) -> bool:
    """Return whether some of the event's values are in the file store."""
    return not isinstance(event, Started | Log | Crashed) and bool(event.stored)


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()
