"""Asks a worker now and then whether it is well, and ends one that is not."""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

import structlog

log = structlog.stdlib.get_logger()

EVERY: Final = 10.0  # seconds


class Patient(Protocol):
    @property
    def pid(self) -> int: ...
    async def healthy(self) -> str | None: ...
    def kill(self) -> None: ...


async def watch(worker: Patient, quiet: Callable[[], bool], *, beside: bool, every: float = EVERY) -> None:
    """Ask, and kill, while nothing runs; `beside`: it can answer while something does, and is asked then, too."""
    while True:
        await asyncio.sleep(every)
        if not beside and not quiet():
            continue
        reason = await worker.healthy()
        if reason is None:
            continue
        replaced = quiet()
        log.warning("a worker is not well", pid=worker.pid, reason=reason, replaced=replaced)
        if replaced:
            worker.kill()
            return
