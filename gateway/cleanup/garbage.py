"""Garbage collection in the file store: files that nothing uses, and that are not about to be used."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog
from msgspec import DecodeError, Struct

from gateway.errors import NotFound
from gateway.files.store import FileStore, StoredFile
from gateway.predictions.inputs import find_files
from gateway.store.models import ModelStore
from gateway.store.predictions import PredictionStore
from gateway.store.uploads import UploadStore
from schemas import keys
from schemas.keys import INCOMING
from schemas.models import decode_manifest

log = structlog.get_logger("samovar.gc")

MIN_AGE: Final = timedelta(hours=1)
"""Files that are younger may be about to be used."""
MIN_INPUT_AGE: Final = timedelta(days=1)
MAX_LISTED: Final = 10_000


class Waste(Struct, frozen=True, kw_only=True):
    """A file that nothing uses, and why."""

    key: str
    bytes: int
    reason: str


class Found(Struct, kw_only=True):
    """The files that can be freed, or were freed: all of them counted, the first `MAX_LISTED` listed."""

    count: int = 0
    bytes: int = 0
    freed: bool = False
    items: list[Waste] = []


FindUnused = Callable[[Sequence[StoredFile]], Awaitable[dict[str, str]]]
"""Returns those of some files that nothing uses, by key, each with the reason."""


class GarbageCollector:
    """Finds and removes unused archives, manifests, uploads, outputs and inputs of the file store.

    Used by the routes of `samovar gc`.
    """

    def __init__(
        self, files: FileStore, models: ModelStore, predictions: PredictionStore, uploads: UploadStore
    ) -> None:
        self._files = files
        self._models = models
        self._predictions = predictions
        self._uploads = uploads

    async def find(self) -> Found:
        """Return the files that could be freed."""
        report = Found()
        async for waste in self._find_waste():
            _add_to_report(report, waste)
        return report

    async def collect(self) -> Found:
        """Free unused files and return them. A file that came into use since it was found stays."""
        report = Found(freed=True)
        async for waste in self._find_waste():
            if await self._remove_if_unused(waste.key):
                _add_to_report(report, waste)
        await self._uploads.delete_all_expired()
        log.info("freed", files=report.count, bytes=report.bytes)
        return report

    async def _find_waste(self) -> AsyncGenerator[Waste]:
        in_use = {key for input in await self._predictions.inputs_naming_files() for key in find_files(input)}
        folders: dict[str, tuple[FindUnused, timedelta]] = {
            "packs": (self._unused_archives, MIN_AGE),
            "versions": (self._unused_manifests, MIN_AGE),
            "up": (self._expired_uploads, MIN_AGE),
            "out": (self._unused_outputs, MIN_AGE),
            "in": (self._unused_inputs, MIN_INPUT_AGE),
            INCOMING: (_interrupted_pushes, MIN_AGE),
        }
        for folder, (useless, young) in folders.items():
            before = datetime.now(UTC) - young
            async for files in self._files.list_files(folder):
                old = [each for each in files if each.modified < before and each.key not in in_use]
                reasons = await useless(old) if old else {}
                for each in old:
                    if each.key in reasons:
                        yield Waste(key=each.key, bytes=each.size, reason=reasons[each.key])

    async def _unused_archives(self, stored: Sequence[StoredFile]) -> dict[str, str]:
        digests = {each.key: _stem(each.key) for each in stored}
        needed = await self._models.archives_in_use(list(digests.values()))
        return {key: "an archive without a version" for key, digest in digests.items() if digest not in needed}

    async def _unused_manifests(self, stored: Sequence[StoredFile]) -> dict[str, str]:
        versions = {each.key: _stem(each.key) for each in stored}
        needed = await self._models.versions_in_use(list(versions.values()))
        return {key: "a manifest without a version" for key, version in versions.items() if version not in needed}

    async def _expired_uploads(self, stored: Sequence[StoredFile]) -> dict[str, str]:
        ids = {each.key: each.key.split("/")[1] for each in stored}
        live = await self._uploads.find_unexpired(list(ids.values()))
        return {key: "an upload that has expired" for key, id in ids.items() if id not in live}

    async def _unused_outputs(self, stored: Sequence[StoredFile]) -> dict[str, str]:
        ids = {each.key: each.key.split("/")[1] for each in stored}
        files = await self._predictions.output_files(list(set(ids.values())))
        weights = await self._models.weights_in_use(list(ids))
        reasons: dict[str, str] = {}
        for key, id in ids.items():
            result_files = files.get(id, frozenset())
            if key in weights:
                continue
            if id not in files:
                reasons[key] = "an output of a prediction that is gone"
            elif result_files is not None and key not in result_files:
                reasons[key] = "an output that no result names"
        return reasons

    async def _unused_inputs(self, stored: Sequence[StoredFile]) -> dict[str, str]:
        needed = {keys.input(digest) for digest in await self._predictions.large_input_digests()}
        return {each.key: "an input of a prediction that has ended" for each in stored if each.key not in needed}

    async def _remove_if_unused(self, key: str) -> bool:
        """Remove a file and return whether it was removed.

        Archives and manifests may have come into use again, so they are checked under the lock of pushes and trainings.
        """
        folder = key.partition("/")[0]
        if folder not in {"packs", "versions"}:
            await self._files.remove(key)
            return True
        async with self._models.lock(await self._lock_key(key)) as connection:
            if folder == "packs":
                needed = await self._models.archives_in_use([_stem(key)], connection)
            else:
                needed = await self._models.versions_in_use([_stem(key)], connection)
            if not needed:
                await self._files.remove(key)
        return not needed

    async def _lock_key(self, key: str) -> str:
        if key.startswith("packs/"):
            return _stem(key)
        try:
            return decode_manifest(await self._files.read(key)).pack or _stem(key)
        except (DecodeError, NotFound):
            return _stem(key)


async def _interrupted_pushes(stored: Sequence[StoredFile]) -> dict[str, str]:
    return {each.key: "a push that broke off" for each in stored}


def _stem(key: str) -> str:
    return key.rpartition("/")[2].partition(".")[0]


def _add_to_report(report: Found, waste: Waste) -> None:
    report.count += 1
    report.bytes += waste.bytes
    if len(report.items) < MAX_LISTED:
        report.items.append(waste)
