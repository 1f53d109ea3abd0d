"""Archives of pushed versions, fetched from the file store and unpacked, as far as this host has room for them."""

import asyncio
import time
from pathlib import Path
from typing import Final

import structlog
from msgspec import DecodeError, ValidationError

from runners import packing
from runners.errors import BadPack, NotThere
from runners.files import Files
from runners.shelf import Shelf
from schemas import keys
from schemas.models import Manifest, decode_manifest

log = structlog.stdlib.get_logger()

FOLDER: Final = "packs"
UNKNOWN_FOR: Final = 5.0  # seconds for which a version that has no manifest is not looked up again
_MOST_UNKNOWN: Final = 10_000


class Packs:
    def __init__(self, files: Files, root: Path) -> None:
        self.shelf = Shelf(root)
        self._root = root
        self._files = files
        self._unknown: dict[str, float] = {}
        self._packs: dict[str, str] = {}
        """By version, of those that were looked up."""

    async def manifest(self, version: str) -> Manifest | None:
        """None: nobody pushed this version, or it has been deleted. Raises `FileStoreError` and `BadPack`."""
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
        self._packs[version] = manifest.pack
        return manifest

    async def hold(self, manifest: Manifest) -> Path:
        """Its folder, which stays until it is released. Raises `FileStoreError` and `BadPack`."""

        async def make(folder: Path) -> None:
            await self._fetched(manifest, folder)

        folder, _ = await self.shelf.hold(manifest.pack, make)
        return folder

    async def forget(self, version: str) -> None:
        """It was deleted: its folder goes, unless something uses it."""
        pack = self._packs.pop(version, None)
        if pack is not None and pack not in self._packs.values():
            await asyncio.to_thread(self.shelf.remove, pack)

    def release(self, manifest: Manifest) -> None:
        self.shelf.release(manifest.pack)

    async def _fetched(self, manifest: Manifest, folder: Path) -> None:
        tar = self._root / f"{manifest.pack}.tar"
        tar.unlink(missing_ok=True)
        try:
            came = await self._files.fetch_to(keys.pack(manifest.pack), tar, manifest.size)
            if came != manifest.pack:
                raise BadPack(f"the archive's sha256 is {came}, and its version's is {manifest.pack}; push it anew")
            await asyncio.to_thread(packing.unpack, tar, folder)
        finally:
            tar.unlink(missing_ok=True)
        log.info("fetched", pack=manifest.pack[:12], bytes=manifest.size)

    def _forget_unknown(self) -> None:
        if len(self._unknown) > _MOST_UNKNOWN:
            self._unknown = {version: until for version, until in self._unknown.items() if until > time.monotonic()}
