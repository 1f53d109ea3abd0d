"""Folders on disk that are created once, shared by all agents of a host, and removed when unused for long."""

import asyncio
import fcntl
import os
import shutil
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog
from msgspec import DecodeError, Struct, ValidationError, json

log = structlog.stdlib.get_logger()

_MARKER_SUFFIX: Final = ".done"
_LOCK_SUFFIX: Final = ".lock"
_LOCK_RETRY_SECONDS: Final = 0.1


class Marker(Struct, frozen=True):
    """The content of the file beside a complete folder. That file's mtime is when the folder was last used."""

    bytes: int


class CacheEntry(Struct, frozen=True):
    """A complete folder in a cache."""

    cache: "DiskCache"
    key: str
    bytes: int
    used_at: float


class DiskCache:
    """Folders by key below one root, which processes share by locks.

    Whoever uses a folder holds a shared lock on it, and whoever creates or removes it an exclusive one. Archives,
    weights and environments are kept in such caches.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._locks: dict[str, int] = {}
        self._users: dict[str, int] = {}

    async def acquire(self, key: str, create: Callable[[Path], Awaitable[None]]) -> tuple[Path, bool]:
        """Return the folder of `key`, and whether it was created just now; it stays until it is released."""
        while not await self._acquire_shared(key):
            await self._create(key, create)
            if await self._acquire_shared(key):
                return self._root / key, True
        return self._root / key, False

    def release(self, key: str) -> None:
        """Release a folder once for each time it was acquired."""
        self._users[key] -= 1
        if not self._users[key]:
            del self._users[key]
            os.close(self._locks.pop(key))
            with suppress(OSError):
                os.utime(self._marker_file(key))

    def entries(self) -> list[CacheEntry]:
        """Return all complete folders."""
        entries: list[CacheEntry] = []
        for marker in self._root.glob(f"*{_MARKER_SUFFIX}"):
            with suppress(OSError, DecodeError, ValidationError):
                size = json.decode(marker.read_bytes(), type=Marker).bytes
                entries.append(CacheEntry(self, marker.name.removesuffix(_MARKER_SUFFIX), size, marker.stat().st_mtime))
        return entries

    def remove(self, key: str) -> bool:
        """Remove a folder; return False if it is in use."""
        lock = self._open_lock(key)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        else:
            self._marker_file(key).unlink(missing_ok=True)
            shutil.rmtree(self._root / key, ignore_errors=True)
            return True
        finally:
            os.close(lock)

    async def _acquire_shared(self, key: str) -> bool:
        """Acquire a folder that is complete; return False if it has to be created first."""
        if key in self._users:
            self._users[key] += 1
            return True
        lock = self._open_lock(key)
        acquired = False
        try:
            await _lock(lock, fcntl.LOCK_SH)
            acquired = self._marker_file(key).exists() and key not in self._users
            if acquired:
                os.utime(self._marker_file(key))
                self._locks[key], self._users[key] = lock, 1
        finally:
            if not acquired:
                os.close(lock)
        if not acquired and key in self._users:
            self._users[key] += 1
            return True
        return acquired

    async def _create(self, key: str, create: Callable[[Path], Awaitable[None]]) -> None:
        folder = self._root / key
        lock = self._open_lock(key)
        try:
            await _lock(lock, fcntl.LOCK_EX)
            if self._marker_file(key).exists():
                return
            # An incomplete folder may be there, from a process that was killed.
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            try:
                await create(folder)
                size = await asyncio.to_thread(folder_size, folder)
                self._marker_file(key).write_bytes(json.encode(Marker(size)))
            except BaseException:
                # Not in a thread: a canceled task could not wait for it.
                shutil.rmtree(folder, ignore_errors=True)
                raise
        finally:
            os.close(lock)

    def _open_lock(self, key: str) -> int:
        self._root.mkdir(parents=True, exist_ok=True)
        return os.open(self._root / f"{key}{_LOCK_SUFFIX}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _marker_file(self, key: str) -> Path:
        return self._root / f"{key}{_MARKER_SUFFIX}"


def trim(caches: Iterable[DiskCache], limit: int) -> None:
    """Remove the least recently used folders that are not in use, until the rest fits into `limit` bytes."""
    entries = sorted((entry for cache in caches for entry in cache.entries()), key=lambda entry: entry.used_at)
    total = sum(entry.bytes for entry in entries)
    for entry in entries:
        if total <= limit:
            return
        if entry.cache.remove(entry.key):
            total -= entry.bytes
            idle = round(time.time() - entry.used_at)
            log.info("removed a folder from the cache", key=entry.key[:12], bytes=entry.bytes, unused_seconds=idle)


def folder_size(folder: Path) -> int:
    """Return the bytes of a folder's files; links are not followed."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(where, name)).st_size
    return total


async def _lock(lock: int, kind: int) -> None:
    while True:
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            await asyncio.sleep(_LOCK_RETRY_SECONDS)
        else:
            return
