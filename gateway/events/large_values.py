"""Output values too large for an event, put back into the places that it left for them."""

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Final, Protocol

from msgspec import Raw, structs

from gateway.errors import NotFound
from schemas.events import Crashed, Event, Log, Started
from schemas.prediction import Gap

AT_ONCE: Final = 16  # files that are read for one event


class Store(Protocol):
    async def read(self, key: str) -> bytes: ...


class Values:
    def __init__(self, files: Store) -> None:
        self._files = files

    async def placed(self, said: Sequence[Event]) -> list[Event]:
        """Raises `Gap` when a value is not there any more, or is not what was said, and `NoFiles`."""
        return [await self._whole(event) if lacking(event) else event for event in said]

    async def _whole(self, event: Event) -> Event:
        if isinstance(event, Started | Log | Crashed):
            return event
        values, places = list(event.values), list(event.stored)
        for first in range(0, len(places), AT_ONCE):
            some = places[first : first + AT_ONCE]
            found = await asyncio.gather(*(self._read(event.stored[place]) for place in some))
            for place, value in zip(some, found, strict=True):
                values[place] = value
        return structs.replace(event, values=values, stored={})

    async def _read(self, key: str) -> Raw:
        try:
            text = await self._files.read(key)
        except NotFound as error:
            raise Gap from error
        if key.rpartition("/")[2] != f"{await asyncio.to_thread(_digest, text)}.json":
            raise Gap
        return Raw(text)


def lacking(event: Event) -> bool:
    """Whether some of its values are in the file store."""
    return not isinstance(event, Started | Log | Crashed) and bool(event.stored)


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()
