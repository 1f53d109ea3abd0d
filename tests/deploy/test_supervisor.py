import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from deploy.errors import Unstarted
from deploy.local.pid_file import Ledger
from deploy.local.process import Command, running, start
from deploy.local.supervisor import TRIES, Keeper, Part, supervised

LIVES = "import time; print('alive', flush=True); time.sleep(1000)"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + LIVES
PARENT = (
    "import subprocess, sys, time; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(1000)'], "
    "start_new_session=True); print(p.pid, flush=True); time.sleep(1000)"
)


def command(folder: Path, code: str, *, patience: float = 5) -> Command:
    return Command(
        name="child",
        argv=(sys.executable, "-c", code),
        log=folder / "child.log",
        env=dict(os.environ),
        patience=patience,
    )


def says(log: Path, text: str) -> Callable[[], Awaitable[bool]]:
    async def asked() -> bool:
        return has(log, text)

    return asked


def has(log: Path, text: str) -> bool:
    return log.exists() and text in log.read_text()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - another process makes it true
            await asyncio.sleep(0.01)


async def test_a_child_that_dies_is_started_again(tmp_path: Path) -> None:
    part = Part(command=command(tmp_path, LIVES), healthy=says(tmp_path / "child.log", "alive"))
    async with asyncio.TaskGroup() as group, supervised(part, Ledger(tmp_path / "ledger"), group) as keeper:
        await keeper.healthy.wait()
        first = keeper.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(lambda: keeper.pid != first)
        assert keeper.pid is not None
        assert psutil.pid_exists(keeper.pid)
    assert not psutil.pid_exists(keeper.pid)


async def test_one_that_keeps_dying_is_given_up_with_its_last_words(tmp_path: Path) -> None:
    async def never() -> bool:
        return False

    part = Part(command=command(tmp_path, "raise SystemExit('no such luck')"), healthy=never)
    told = rf"(?s)child does not stay up: it ended {TRIES} times, the last time by exit status 1.*no such luck"
    with pytest.raises(Unstarted, match=told):
        await Keeper(part, Ledger(tmp_path / "ledger")).keep()


@pytest.mark.parametrize("code", [pytest.param(DEAF, id="deaf"), pytest.param(LIVES, id="stopped")])
async def test_a_child_that_hangs_is_killed(tmp_path: Path, code: str) -> None:
    async with running(command(tmp_path, code, patience=0.3)) as process:
        await until(lambda: has(tmp_path / "child.log", "alive"))
        if code == LIVES:
            process.send_signal(signal.SIGSTOP)
            # A SIGTERM that came before would end it.
            await until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)
    assert process.returncode == -signal.SIGKILL


async def test_what_a_child_started_ends_with_it(tmp_path: Path) -> None:
    log = tmp_path / "child.log"
    async with running(command(tmp_path, PARENT)):
        await until(lambda: has(log, "\n"))
        grandchild = psutil.Process(int(log.read_text()))
    await until(lambda: gone(grandchild))


async def test_leftovers_of_an_earlier_run_are_ended_with_all_that_they_started(tmp_path: Path) -> None:
    log = tmp_path / "child.log"
    process = await start(command(tmp_path, PARENT))
    Ledger(tmp_path / "ledger").record("child", process.pid)
    await until(lambda: has(log, "\n"))
    grandchild = psutil.Process(int(log.read_text()))
    assert await asyncio.to_thread(Ledger(tmp_path / "ledger").end_leftovers, 0.1) == ["child"]
    await process.wait()
    await until(lambda: gone(grandchild))


async def test_a_stranger_with_the_pid_of_a_leftover_is_spared(tmp_path: Path) -> None:
    async with running(command(tmp_path, LIVES)) as process:
        (tmp_path / "ledger").write_text(f'{{"child": {{"pid": {process.pid}, "began": 1.0}}}}')
        assert Ledger(tmp_path / "ledger").end_leftovers(0.1) == []
        assert process.returncode is None


def gone(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return process.status() == psutil.STATUS_ZOMBIE
    return True
