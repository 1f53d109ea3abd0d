"""Versions come and go, and one that fails to leave can come again."""

import asyncio

from runners.pool import Pool, Ticking
from tests.runners.conftest import eventually


class Faulty:
    """Is evicted at once, and stumbles on its way out the first time."""

    inbox: Ticking
    ready = False

    def __init__(self, made: list["Faulty"]) -> None:
        self._first = not made
        made.append(self)

    async def keep(self, pause: float) -> bool:
        await asyncio.sleep(0)
        return True

    async def close(self, drain: float) -> None:
        if self._first:
            raise RuntimeError("stumbled")


async def test_a_version_that_did_not_leave_well_is_loaded_again() -> None:
    made: list[Faulty] = []
    left = asyncio.Event()

    async def find(_: str) -> Faulty:
        return Faulty(made)

    pool = Pool(["v"], find, drain=0, left=left.set)
    pool.want("v")
    await eventually(left.is_set)
    assert pool.inboxes == []
    pool.want("v")
    await eventually(lambda: len(made) == 2)
    await pool.close()
