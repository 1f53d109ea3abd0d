"""The disk cache of pushed archives and trained weights, which come from the file store."""

import asyncio
import time
from pathlib import Path
from typing import Final

import structlog
from msgspec import DecodeError, ValidationError

from runners.errors import BadArchive, FileMissing
from runners.jobs.file_store import FileStore
from runners.versions import archive
from runners.versions.disk_cache import DiskCache
from schemas import keys
from schemas.models import Manifest, Weights, decode_manifest

log = structlog.stdlib.get_logger()

FOLDER: Final = "packs"
WEIGHTS_FOLDER: Final = "trained"
"""The folder for weights, beside the one for archives."""
MISSING_SECONDS: Final = 5.0  # for which a version without a manifest is not looked up again
_MAX_MISSING: Final = 10_000


class ArchiveCache:
    """The unpacked archives of pushed versions and the weights of trained ones, on this host's disk.

    It owns both disk caches; `PushedVersions` acquires from it what an instance, a build or a training needs.
    """

    def __init__(self, files: FileStore, root: Path) -> None:
        self.archives = DiskCache(root)
        self.weights = DiskCache(root.parent / WEIGHTS_FOLDER)
        self._root = root
        self._files = files
        self._missing_until: dict[str, float] = {}
        self._archive_of: dict[str, str] = {}
        """The sha256 of its archive, by version, as far as manifests were fetched."""
        self._weights_of: dict[str, str] = {}
        """The sha256 of its weights, by version, as far as manifests were fetched."""

    async def fetch_manifest(self, version: str) -> Manifest | None:
        """Return a version's manifest; None if it was never created, or is deleted.

        Raises `FileStoreError` and `BadArchive`.
        """
        if time.monotonic() < self._missing_until.get(version, 0.0):
            return None
        try:
            text = await self._files.fetch(keys.manifest(version))
        except FileMissing:
            self._prune_missing()
            self._missing_until[version] = time.monotonic() + MISSING_SECONDS
            return None
        manifest = _parse(text, version)
        if manifest.weights is not None:
            self._weights_of[version] = manifest.weights.sha256
        else:
            self._archive_of[version] = manifest.pack
        return manifest

    async def acquire_folder(self, manifest: Manifest) -> Path:
        """Return the version's unpacked folder, which stays until it is released.

        Raises `FileStoreError` and `BadArchive`.
        """

        async def create(folder: Path) -> None:
            await self._fetch_archive(manifest, folder)

        folder, _ = await self.archives.acquire(manifest.pack, create)
        return folder

    async def acquire_weights(self, weights: Weights) -> Path:
        """Return the file of the weights, which stays until it is released.

        Raises `FileStoreError` and `BadArchive`.
        """
        name = weights.key.rpartition("/")[2]

        async def create(folder: Path) -> None:
            await asyncio.to_thread(folder.mkdir, parents=True)
            digest = await self._files.download(weights.key, folder / name, weights.size)
            if digest != weights.sha256:
                raise BadArchive(f"the sha256 of the weights is {digest}, but was {weights.sha256}; train them again")
            log.info("fetched weights", sha256=weights.sha256[:12], bytes=weights.size)

        folder, _ = await self.weights.acquire(weights.sha256, create)
        # The same content may have been fetched under another name.
        return next(iter(await asyncio.to_thread(lambda: list(folder.iterdir()))))

    async def remove_version(self, version: str) -> None:
        """Remove a deleted version's folder and weights, unless something uses them."""
        for cache, digests in ((self.archives, self._archive_of), (self.weights, self._weights_of)):
            key = digests.pop(version, None)
            if key is not None and key not in digests.values():
                await asyncio.to_thread(cache.remove, key)

    def release_folder(self, manifest: Manifest) -> None:
        """Release a folder that was acquired."""
        self.archives.release(manifest.pack)

    def release_weights(self, weights: Weights) -> None:
        """Release weights that were acquired."""
        self.weights.release(weights.sha256)

    async def _fetch_archive(self, manifest: Manifest, folder: Path) -> None:
        tar = self._root / f"{manifest.pack}.tar"
        tar.unlink(missing_ok=True)
        try:
            digest = await self._files.download(keys.archive(manifest.pack), tar, manifest.size)
            if digest != manifest.pack:
                reason = f"the archive's sha256 is {digest}, but its version's is {manifest.pack}; push it again"
                raise BadArchive(reason)
            await asyncio.to_thread(archive.unpack, tar, folder)
        finally:
            tar.unlink(missing_ok=True)
        log.info("fetched an archive", archive=manifest.pack[:12], bytes=manifest.size)

    def _prune_missing(self) -> None:
        if len(self._missing_until) > _MAX_MISSING:
            now = time.monotonic()
            self._missing_until = {version: until for version, until in self._missing_until.items() if until > now}


def _parse(text: bytes, version: str) -> Manifest:
    try:
        manifest = decode_manifest(text)
    except (DecodeError, ValidationError) as error:
        raise BadArchive(f"{keys.manifest(version)} cannot be read: {error}") from error
    if manifest.version != version:
        raise BadArchive(f"{keys.manifest(version)} is the manifest of another version")
    return manifest
