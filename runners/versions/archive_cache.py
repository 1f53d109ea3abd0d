"""Archives of pushed versions and weights of trained ones, fetched from the file store as far as there is room here."""

import asyncio
import time
from pathlib import Path
from typing import Final

import structlog
from msgspec import DecodeError, ValidationError

from runners.errors import BadPack, NotThere
from runners.jobs.file_store import Files
from runners.versions import archive
from runners.versions.disk_cache import Shelf
from schemas import keys
from schemas.models import Manifest, Weights, decode_manifest

log = structlog.stdlib.get_logger()

FOLDER: Final = "packs"
TRAINED: Final = "trained"
"""Beside it, for weights."""
UNKNOWN_FOR: Final = 5.0  # seconds for which a version that has no manifest is not looked up again
_MOST_UNKNOWN: Final = 10_000


class Packs:
    def __init__(self, files: Files, root: Path) -> None:
        self.shelf = Shelf(root)
        self.trained = Shelf(root.parent / TRAINED)
        self._root = root
        self._files = files
        self._unknown: dict[str, float] = {}
        self._packs: dict[str, str] = {}
        """By version, of those that were looked up."""
        self._weights: dict[str, str] = {}
        """The same: their hashes."""

    async def manifest(self, version: str) -> Manifest | None:
        """None: nobody made this version, or it has been deleted. Raises `FileStoreError` and `BadPack`."""
        if time.monotonic() < self._unknown.get(version, 0.0):
            return None
        try:
            text = await self._files.fetch(keys.manifest(version))
        except NotThere:
            self._forget_unknown()
            self._unknown[version] = time.monotonic() + UNKNOWN_FOR
            return None
        try:
            manifest = decode_manifest(text)
        except (DecodeError, ValidationError) as error:
            raise BadPack(f"{keys.manifest(version)} cannot be read: {error}") from error
        if manifest.version != version:
            raise BadPack(f"{keys.manifest(version)} speaks of another version")
        if manifest.weights is not None:
            self._weights[version] = manifest.weights.sha256
        else:
            self._packs[version] = manifest.pack
        return manifest

    async def hold(self, manifest: Manifest) -> Path:
        """Its folder, which stays until it is released. Raises `FileStoreError` and `BadPack`."""

        async def make(folder: Path) -> None:
            await self._fetched(manifest, folder)

        folder, _ = await self.shelf.hold(manifest.pack, make)
        return folder

    async def hold_weights(self, weights: Weights) -> Path:
        """The file, which stays until it is released. Raises `FileStoreError` and `BadPack`."""
        name = weights.key.rpartition("/")[2]

        async def make(folder: Path) -> None:
            await asyncio.to_thread(folder.mkdir, parents=True)
            came = await self._files.fetch_to(weights.key, folder / name, weights.size)
            if came != weights.sha256:
                raise BadPack(f"the sha256 of the weights is {came}, and was {weights.sha256}; train it anew")
            log.info("fetched weights", sha256=weights.sha256[:12], bytes=weights.size)

        folder, _ = await self.trained.hold(weights.sha256, make)
        # The same may have been fetched under another name.
        return next(iter(await asyncio.to_thread(lambda: list(folder.iterdir()))))

    async def forget(self, version: str) -> None:
        """It was deleted: its folder goes, and its weights, unless something uses them."""
        for shelf, known in ((self.shelf, self._packs), (self.trained, self._weights)):
            key = known.pop(version, None)
            if key is not None and key not in known.values():
                await asyncio.to_thread(shelf.remove, key)

    def release(self, manifest: Manifest) -> None:
        self.shelf.release(manifest.pack)

    def release_weights(self, weights: Weights) -> None:
        self.trained.release(weights.sha256)

    async def _fetched(self, manifest: Manifest, folder: Path) -> None:
        tar = self._root / f"{manifest.pack}.tar"
        tar.unlink(missing_ok=True)
        try:
            came = await self._files.fetch_to(keys.pack(manifest.pack), tar, manifest.size)
            if came != manifest.pack:
                raise BadPack(f"the archive's sha256 is {came}, and its version's is {manifest.pack}; push it anew")
            await asyncio.to_thread(archive.unpack, tar, folder)
        finally:
            tar.unlink(missing_ok=True)
        log.info("fetched", pack=manifest.pack[:12], bytes=manifest.size)

    def _forget_unknown(self) -> None:
        if len(self._unknown) > _MOST_UNKNOWN:
            self._unknown = {version: until for version, until in self._unknown.items() if until > time.monotonic()}
