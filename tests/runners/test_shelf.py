import asyncio
import os
from pathlib import Path

import pytest

from runners.versions.disk_cache import Shelf, tidy


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "shelf"


async def make(folder: Path) -> None:
    _make(folder)


def _make(folder: Path) -> None:
    folder.mkdir()
    (folder / "file").write_bytes(b"x" * 100)


def folders(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir() if path.is_dir())


async def test_many_who_want_it_make_it_once(root: Path):
    made: list[Path] = []

    async def slowly(folder: Path) -> None:
        made.append(folder)
        await asyncio.sleep(0)
        await make(folder)

    here, there = Shelf(root), Shelf(root)
    found = await asyncio.gather(*(shelf.hold("a", slowly) for shelf in (here, there, here, there)))
    assert {folder for folder, _ in found} == {root / "a"}
    assert len(made) == 1
    assert (root / "a" / "file").exists()


async def test_what_is_half_made_is_made_anew(root: Path):
    shelf = Shelf(root)

    async def fail(folder: Path) -> None:
        _make(folder)
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        await shelf.hold("a", fail)
    assert not (root / "a").exists()
    (root / "a").mkdir()
    (root / "a" / "left").write_text("by somebody who was killed")
    folder, new = await shelf.hold("a", make)
    assert new
    assert os.listdir(folder) == ["file"]


async def test_a_making_that_is_canceled_leaves_nothing_and_holds_nobody_up(root: Path):
    begun = asyncio.Event()

    async def forever(folder: Path) -> None:
        await make(folder)
        begun.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(Shelf(root).hold("a", forever))
    await begun.wait()
    task.cancel()
    await asyncio.wait([task])
    assert not (root / "a").exists()
    assert (await Shelf(root).hold("a", make))[1]


async def test_what_was_not_used_for_longest_goes_first_and_what_is_in_use_stays(root: Path):
    shelf = Shelf(root)
    for key in "abcd":
        await shelf.hold(key, make)
    for age, key in enumerate("bacd"):
        shelf.release(key)
        os.utime(root / f"{key}.done", (1000 + age, 1000 + age))
    await Shelf(root).hold("b", make)
    os.utime(root / "b.done", (1, 1))
    tidy([shelf], limit=250)
    assert folders(root) == ["b", "d"]
    tidy([shelf], limit=0)
    assert folders(root) == ["b"]


async def test_what_is_held_twice_is_released_twice(root: Path):
    shelf = Shelf(root)
    await shelf.hold("a", make)
    await shelf.hold("a", make)
    shelf.release("a")
    assert not shelf.remove("a")
    shelf.release("a")
    assert shelf.remove("a")
    assert not (root / "a").exists()
