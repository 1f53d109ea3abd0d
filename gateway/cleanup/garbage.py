"""What could be freed in the file store: files that nothing uses, and that are not about to be used."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog
from msgspec import DecodeError, Struct

from gateway.errors import NotFound
from gateway.files.store import Files, Stored
from gateway.predictions.inputs import files_in
from gateway.store.models import Models
from gateway.store.predictions import Predictions
from gateway.store.uploads import Uploads
from schemas import keys
from schemas.keys import INCOMING
from schemas.models import decode_manifest

log = structlog.get_logger("samovar.gc")

YOUNG: Final = timedelta(hours=1)
"""What is younger may be on its way into use."""
YOUNG_INPUT: Final = timedelta(days=1)
SHOWN: Final = 10_000


class Waste(Struct, frozen=True, kw_only=True):
    key: str
    bytes: int
    reason: str


class Found(Struct, kw_only=True):
    """What there is to free, or was freed: all of it counted, the first of it listed."""

    count: int = 0
    bytes: int = 0
    freed: bool = False
    items: list[Waste] = []


Useless = Callable[[Sequence[Stored]], Awaitable[dict[str, str]]]
"""Those of some files that nothing uses, by key, each with the reason."""


class Gc:
    def __init__(self, files: Files, models: Models, record: Predictions, uploads: Uploads) -> None:
        self._files = files
        self._models = models
        self._record = record
        self._uploads = uploads

    async def survey(self) -> Found:
        found = Found()
        async for waste in self._waste():
            _count(found, waste)
        return found

    async def free(self) -> Found:
        """What was freed. Whatever came into use since it was found stays."""
        found = Found(freed=True)
        async for waste in self._waste():
            if await self._remove(waste.key):
                _count(found, waste)
        await self._uploads.drop_expired()
        log.info("freed", files=found.count, bytes=found.bytes)
        return found

    async def _waste(self) -> AsyncGenerator[Waste]:
        in_use = {key for input in await self._record.inputs_with_files() for key in files_in(input)}
        folders: dict[str, tuple[Useless, timedelta]] = {
            "packs": (self._packs, YOUNG),
            "versions": (self._manifests, YOUNG),
            "up": (self._unwanted_uploads, YOUNG),
            "out": (self._outputs, YOUNG),
            "in": (self._inputs, YOUNG_INPUT),
            INCOMING: (_broken_off, YOUNG),
        }
        for folder, (useless, young) in folders.items():
            before = datetime.now(UTC) - young
            async for stored in self._files.listed(folder):
                old = [each for each in stored if each.modified < before and each.key not in in_use]
                reasons = await useless(old) if old else {}
                for each in old:
                    if each.key in reasons:
                        yield Waste(key=each.key, bytes=each.size, reason=reasons[each.key])

    async def _packs(self, stored: Sequence[Stored]) -> dict[str, str]:
        digests = {each.key: _stem(each.key) for each in stored}
        needed = await self._models.packs_needed(list(digests.values()))
        return {key: "an archive without a version" for key, digest in digests.items() if digest not in needed}

    async def _manifests(self, stored: Sequence[Stored]) -> dict[str, str]:
        versions = {each.key: _stem(each.key) for each in stored}
        needed = await self._models.versions_needed(list(versions.values()))
        return {key: "a manifest without a version" for key, version in versions.items() if version not in needed}

    async def _unwanted_uploads(self, stored: Sequence[Stored]) -> dict[str, str]:
        ids = {each.key: each.key.split("/")[1] for each in stored}
        live = await self._uploads.live(list(ids.values()))
        return {key: "an upload that has expired" for key, id in ids.items() if id not in live}

    async def _outputs(self, stored: Sequence[Stored]) -> dict[str, str]:
        ids = {each.key: each.key.split("/")[1] for each in stored}
        kept = await self._record.output_files(list(set(ids.values())))
        weights = await self._models.weights_needed(list(ids))
        reasons: dict[str, str] = {}
        for key, id in ids.items():
            named = kept.get(id, frozenset())
            if key in weights:
                continue
            if id not in kept:
                reasons[key] = "an output of a prediction that is gone"
            elif named is not None and key not in named:
                reasons[key] = "an output that no result names"
        return reasons

    async def _inputs(self, stored: Sequence[Stored]) -> dict[str, str]:
        needed = {keys.input(digest) for digest in await self._record.large_inputs()}
        return {each.key: "an input of a prediction that has ended" for each in stored if each.key not in needed}

    async def _remove(self, key: str) -> bool:
        """Archives and manifests may have come into use again; nobody pushes or trains the same meanwhile."""
        folder = key.partition("/")[0]
        if folder not in {"packs", "versions"}:
            await self._files.remove(key)
            return True
        async with self._models.holding(await self._pack_of(key)) as on:
            if folder == "packs":
                needed = await self._models.packs_needed([_stem(key)], on)
            else:
                needed = await self._models.versions_needed([_stem(key)], on)
            if not needed:
                await self._files.remove(key)
        return not needed

    async def _pack_of(self, key: str) -> str:
        if key.startswith("packs/"):
            return _stem(key)
        try:
            return decode_manifest(await self._files.read(key)).pack or _stem(key)
        except (DecodeError, NotFound):
            return _stem(key)


async def _broken_off(stored: Sequence[Stored]) -> dict[str, str]:
    return {each.key: "a push that broke off" for each in stored}


def _stem(key: str) -> str:
    return key.rpartition("/")[2].partition(".")[0]


def _count(found: Found, waste: Waste) -> None:
    found.count += 1
    found.bytes += waste.bytes
    if len(found.items) < SHOWN:
        found.items.append(waste)
