"""Child processes for tests, and what to wait for."""

import asyncio
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from deploy.local.process import Command

SLEEPER = "import time; print('alive', flush=True); time.sleep(1000)"


IGNORES_SIGTERM = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SLEEPER


PARENT = (
    "import subprocess, sys, time; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(1000)'], "
    "start_new_session=True); print(p.pid, flush=True); time.sleep(1000)"
)


def child_command(folder: Path, code: str, *, patience: float = 5) -> Command:
    return Command(
        name="child",
        argv=(sys.executable, "-c", code),
        log=folder / "child.log",
        env=dict(os.environ),
        stop_seconds=patience,
    )


def contains(log: Path, text: str) -> bool:
    return log.exists() and text in log.read_text()


async def wait_until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - another process makes it true
            await asyncio.sleep(0.01)


def is_gone(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return process.status() == psutil.STATUS_ZOMBIE
    return True
