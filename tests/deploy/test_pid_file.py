import asyncio
from pathlib import Path

import psutil

from deploy.local.pid_file import PidFile
from deploy.local.process import run_process, start_process
from tests.deploy.children import PARENT, SLEEPER, child_command, contains, is_gone, wait_until


async def test_leftovers_of_an_earlier_run_are_ended_with_their_children(tmp_path: Path) -> None:
    log = tmp_path / "child.log"
    process = await start_process(child_command(tmp_path, PARENT))
    PidFile(tmp_path / "pids").record("child", process.pid)
    await wait_until(lambda: contains(log, "\n"))
    grandchild = psutil.Process(int(log.read_text()))
    assert await asyncio.to_thread(PidFile(tmp_path / "pids").end_leftovers, 0.1) == ["child"]
    await process.wait()
    await wait_until(lambda: is_gone(grandchild))


async def test_a_stranger_with_the_pid_of_a_leftover_is_spared(tmp_path: Path) -> None:
    async with run_process(child_command(tmp_path, SLEEPER)) as process:
        (tmp_path / "pids").write_text(f'{{"child": {{"pid": {process.pid}, "began": 1.0}}}}')
        assert PidFile(tmp_path / "pids").end_leftovers(0.1) == []
        assert process.returncode is None
