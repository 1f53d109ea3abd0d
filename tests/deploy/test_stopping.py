"""Stopping `samovar up` at an awkward moment."""

import asyncio
from pathlib import Path

import pytest

from deploy.local.pid_file import Ledger
from deploy.local.process import Command
from deploy.local.supervisor import Keeper, Part
from deploy.local.up import _healthy  # pyright: ignore[reportPrivateUsage]


async def works() -> bool:
    return True


def a_keeper(folder: Path) -> Keeper:
    command = Command(name="part", argv=("true",), log=folder / "part.log", env={})
    return Keeper(Part(command=command, healthy=works), Ledger(folder / "children.json"))


async def test_a_stop_that_comes_as_the_last_part_works_is_not_lost(tmp_path: Path) -> None:
    keeper = a_keeper(tmp_path)
    waiting = asyncio.create_task(_healthy([keeper]))
    asyncio.get_running_loop().call_soon(keeper.healthy.set)
    asyncio.get_running_loop().call_soon(waiting.cancel)
    with pytest.raises(asyncio.CancelledError):
        await waiting
