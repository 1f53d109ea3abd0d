import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
import pytest

from deploy.errors import StartFailed
from deploy.local.pid_file import PidFile
from deploy.local.supervisor import MAX_FAILURES, Service, ServiceSupervisor, supervise
from tests.deploy.children import SLEEPER, child_command, contains, wait_until


def logs(log: Path, text: str) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        return contains(log, text)

    return check


async def test_a_child_that_dies_is_restarted(tmp_path: Path) -> None:
    service = Service(command=child_command(tmp_path, SLEEPER), is_healthy=logs(tmp_path / "child.log", "alive"))
    async with asyncio.TaskGroup() as group, supervise(service, PidFile(tmp_path / "pids"), group) as supervisor:
        await supervisor.healthy.wait()
        first = supervisor.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await wait_until(lambda: supervisor.pid != first)
        assert supervisor.pid is not None
        assert psutil.pid_exists(supervisor.pid)
    assert not psutil.pid_exists(supervisor.pid)


async def test_a_child_that_keeps_dying_is_given_up_with_its_last_output(tmp_path: Path) -> None:
    async def never() -> bool:
        return False

    service = Service(command=child_command(tmp_path, "raise SystemExit('no such luck')"), is_healthy=never)
    expected = (
        rf"(?s)child does not stay up: it ended {MAX_FAILURES} times, the last time by exit status 1.*no such luck"
    )
    with pytest.raises(StartFailed, match=expected):
        await ServiceSupervisor(service, PidFile(tmp_path / "pids")).run()
