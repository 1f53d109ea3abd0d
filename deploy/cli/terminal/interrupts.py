"""Ctrl-C and its kin, as something that can be waited for."""

import asyncio
import os
import signal
from collections.abc import Coroutine, Generator
from contextlib import contextmanager, suppress
from typing import Any, Final, TypeVar

from deploy.errors import DeployError
from deploy.local.process import descendants, kill

T = TypeVar("T")

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(DeployError):
    """The user has had enough."""


class Interrupts:
    def __init__(self) -> None:
        self.asked = asyncio.Event()

    def hear(self) -> None:
        if self.asked.is_set():
            # Asked twice, nobody wants to wait for anything.
            kill(descendants(os.getpid()))
        self.asked.set()

    async def unless(self, work: Coroutine[Any, Any, T]) -> T:
        """What comes of the work. It is canceled by an interrupt, which raises `Interrupted`."""
        asked = asyncio.ensure_future(self.asked.wait())
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait({task, asked}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise Interrupted
        finally:
            asked.cancel()
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task


@contextmanager
def interruptible() -> Generator[Interrupts]:
    loop, interrupts = asyncio.get_running_loop(), Interrupts()
    wanted = [each for each in SIGNALS if signal.getsignal(each) != signal.SIG_IGN]
    for each in wanted:
        loop.add_signal_handler(each, interrupts.hear)
    try:
        yield interrupts
    finally:
        for each in wanted:
            loop.remove_signal_handler(each)
