"""The periodic health check of a worker, which ends one that is unhealthy."""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

import structlog

log = structlog.stdlib.get_logger()

CHECK_SECONDS: Final = 10.0


class CheckedWorker(Protocol):
    """The worker process that a health check needs."""

    @property
    def pid(self) -> int: ...
    async def check_health(self) -> str | None: ...
    def kill(self) -> None: ...


async def watch_health(
    worker: CheckedWorker, is_quiet: Callable[[], bool], *, while_running: bool, interval: float = CHECK_SECONDS
) -> None:
    """Check a worker every `interval` seconds, and kill it once it is unhealthy and nothing runs in it.

    With `while_running`, the worker can answer while something runs in it, and is checked then, too.
    """
    while True:
        await asyncio.sleep(interval)
        if not while_running and not is_quiet():
            continue
        reason = await worker.check_health()
        if reason is None:
            continue
        replaced = is_quiet()
        log.warning("a worker is unhealthy", pid=worker.pid, reason=reason, replaced=replaced)
        if replaced:
            worker.kill()
            return
