"""Folders that are made once, shared by all agents of a host, and removed when they have not been used for long."""

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

_DONE: Final = ".done"
_LOCK: Final = ".lock"
_AGAIN: Final = 0.1  # seconds after which a lock that somebody has is tried again


class Mark(Struct, frozen=True):
    """Stands beside a folder that is whole. Its time of change is when the folder was last used."""

    bytes: int


class Kept(Struct, frozen=True):
    """A folder on a shelf."""

    shelf: "Shelf"
    key: str
    bytes: int
    used_at: float


class Shelf:
    """Whoever uses a folder holds a shared lock on it, and whoever makes or removes it an exclusive one."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._locks: dict[str, int] = {}
        self._users: dict[str, int] = {}

    async def hold(self, key: str, make: Callable[[Path], Awaitable[None]]) -> tuple[Path, bool]:
        """The folder of `key`, and whether it was made just now; it stays until it is released."""
        while not await self._shared(key):
            await self._made(key, make)
            if await self._shared(key):
                return self._root / key, True
        return self._root / key, False

    def release(self, key: str) -> None:
        self._users[key] -= 1
        if not self._users[key]:
            del self._users[key]
            os.close(self._locks.pop(key))
            with suppress(OSError):
                os.utime(self._mark(key))

    def kept(self) -> list[Kept]:
        found: list[Kept] = []
        for mark in self._root.glob(f"*{_DONE}"):
            with suppress(OSError, DecodeError, ValidationError):
                size = json.decode(mark.read_bytes(), type=Mark).bytes
                found.append(Kept(self, mark.name.removesuffix(_DONE), size, mark.stat().st_mtime))
        return found

    def remove(self, key: str) -> bool:
        """False: somebody uses it."""
        lock = self._opened(key)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        else:
            self._mark(key).unlink(missing_ok=True)
            shutil.rmtree(self._root / key, ignore_errors=True)
            return True
        finally:
            os.close(lock)

    async def _shared(self, key: str) -> bool:
        """False: it has to be made first."""
        if key in self._users:
            self._users[key] += 1
            return True
        lock = self._opened(key)
        kept = False
        try:
            await _locked(lock, fcntl.LOCK_SH)
            kept = self._mark(key).exists() and key not in self._users
            if kept:
                os.utime(self._mark(key))
                self._locks[key], self._users[key] = lock, 1
        finally:
            if not kept:
                os.close(lock)
        if not kept and key in self._users:
            self._users[key] += 1
            return True
        return kept

    async def _made(self, key: str, make: Callable[[Path], Awaitable[None]]) -> None:
        folder = self._root / key
        lock = self._opened(key)
        try:
            await _locked(lock, fcntl.LOCK_EX)
            if self._mark(key).exists():
                return
            # What somebody left half made.
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            try:
                await make(folder)
                size = await asyncio.to_thread(size_of, folder)
                self._mark(key).write_bytes(json.encode(Mark(size)))
            except BaseException:
                # Not in a thread: a canceled task could not wait for it.
                shutil.rmtree(folder, ignore_errors=True)
                raise
        finally:
            os.close(lock)

    def _opened(self, key: str) -> int:
        self._root.mkdir(parents=True, exist_ok=True)
        return os.open(self._root / f"{key}{_LOCK}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _mark(self, key: str) -> Path:
        return self._root / f"{key}{_DONE}"


def tidy(shelves: Iterable[Shelf], limit: int) -> None:
    """Remove what was not used for longest, and is not in use, until what is left fits into `limit` bytes."""
    kept = sorted((kept for shelf in shelves for kept in shelf.kept()), key=lambda kept: kept.used_at)
    total = sum(one.bytes for one in kept)
    for one in kept:
        if total <= limit:
            return
        if one.shelf.remove(one.key):
            total -= one.bytes
            idle = round(time.time() - one.used_at)
            log.info("removed from the cache", key=one.key[:12], bytes=one.bytes, unused_seconds=idle)


def size_of(folder: Path) -> int:
    """What its files take, links not followed."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(where, name)).st_size
    return total


async def _locked(lock: int, kind: int) -> None:
    while True:
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            await asyncio.sleep(_AGAIN)
        else:
            return
