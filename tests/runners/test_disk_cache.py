import asyncio
import os
from pathlib import Path

import pytest

from runners.versions.disk_cache import DiskCache, trim


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "cache"


async def make(folder: Path) -> None:
    _make(folder)


def _make(folder: Path) -> None:
    folder.mkdir()
    (folder / "file").write_bytes(b"x" * 100)


def folders(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir() if path.is_dir())


async def test_a_folder_that_many_acquire_is_created_once(root: Path):
    created: list[Path] = []

    async def slowly(folder: Path) -> None:
        created.append(folder)
        await asyncio.sleep(0)
        await make(folder)

    here, there = DiskCache(root), DiskCache(root)
    results = await asyncio.gather(*(cache.acquire("a", slowly) for cache in (here, there, here, there)))
    assert {folder for folder, _ in results} == {root / "a"}
    assert len(created) == 1
    assert (root / "a" / "file").exists()


async def test_an_incomplete_folder_is_created_again(root: Path):
    cache = DiskCache(root)

    async def fail(folder: Path) -> None:
        _make(folder)
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        await cache.acquire("a", fail)
    assert not (root / "a").exists()
    (root / "a").mkdir()
    (root / "a" / "left").write_text("by somebody who was killed")
    folder, new = await cache.acquire("a", make)
    assert new
    assert os.listdir(folder) == ["file"]


async def test_a_canceled_creation_leaves_nothing_and_no_lock(root: Path):
    begun = asyncio.Event()

    async def forever(folder: Path) -> None:
        await make(folder)
        begun.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(DiskCache(root).acquire("a", forever))
    await begun.wait()
    task.cancel()
    await asyncio.wait([task])
    assert not (root / "a").exists()
    assert (await DiskCache(root).acquire("a", make))[1]


async def test_the_least_recently_used_folder_goes_first_and_one_in_use_stays(root: Path):
    cache = DiskCache(root)
    for key in "abcd":
        await cache.acquire(key, make)
    for age, key in enumerate("bacd"):
        cache.release(key)
        os.utime(root / f"{key}.done", (1000 + age, 1000 + age))
    await DiskCache(root).acquire("b", make)
    os.utime(root / "b.done", (1, 1))
    trim([cache], limit=250)
    assert folders(root) == ["b", "d"]
    trim([cache], limit=0)
    assert folders(root) == ["b"]


async def test_a_folder_acquired_twice_is_released_twice(root: Path):
    cache = DiskCache(root)
    await cache.acquire("a", make)
    await cache.acquire("a", make)
    cache.release("a")
    assert not cache.remove("a")
    cache.release("a")
    assert cache.remove("a")
    assert not (root / "a").exists()
