import signal
from pathlib import Path

import psutil
import pytest

from deploy.local.process import run_process
from tests.deploy.children import IGNORES_SIGTERM, PARENT, SLEEPER, child_command, contains, is_gone, wait_until


@pytest.mark.parametrize("code", [pytest.param(IGNORES_SIGTERM, id="deaf"), pytest.param(SLEEPER, id="stopped")])
async def test_a_child_that_hangs_is_killed(tmp_path: Path, code: str) -> None:
    async with run_process(child_command(tmp_path, code, patience=0.3)) as process:
        await wait_until(lambda: contains(tmp_path / "child.log", "alive"))
        if code == SLEEPER:
            process.send_signal(signal.SIGSTOP)
            # A SIGTERM that came before would end it.
            await wait_until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)
    assert process.returncode == -signal.SIGKILL


async def test_what_a_child_started_ends_with_it(tmp_path: Path) -> None:
    log = tmp_path / "child.log"
    async with run_process(child_command(tmp_path, PARENT)):
        await wait_until(lambda: contains(log, "\n"))
        grandchild = psutil.Process(int(log.read_text()))
    await wait_until(lambda: is_gone(grandchild))
