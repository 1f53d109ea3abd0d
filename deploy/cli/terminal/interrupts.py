"""Interrupts by Ctrl-C and other signals, as an event to wait for."""

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
    """The user interrupted the command."""


class Interrupts:
    """The signals that ask this process to stop. `requested` is set by the first of them."""

    def __init__(self) -> None:
        self.requested = asyncio.Event()

    def on_signal(self) -> None:
        """Note a signal; a second one kills all child processes, as nobody wants to wait any more."""
        if self.requested.is_set():
            kill(descendants(os.getpid()))
        self.requested.set()

    async def run_until_interrupt(self, work: Coroutine[Any, Any, T]) -> T:
        """Return the result of `work`. An interrupt cancels it and raises `Interrupted`."""
        interrupt = asyncio.ensure_future(self.requested.wait())
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait({task, interrupt}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise Interrupted
        finally:
            interrupt.cancel()
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task


@contextmanager
def catch_interrupts() -> Generator[Interrupts]:
    """Turn signals into an `Interrupts` event inside the block, except for those that the process ignores."""
    loop, interrupts = asyncio.get_running_loop(), Interrupts()
    signals = [each for each in SIGNALS if signal.getsignal(each) != signal.SIG_IGN]
    for each in signals:
        loop.add_signal_handler(each, interrupts.on_signal)
    try:
        yield interrupts
    finally:
        for each in signals:
            loop.remove_signal_handler(each)
