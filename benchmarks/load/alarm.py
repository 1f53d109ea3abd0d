"""A timer that is more exact than an event loop's: the timers of epoll and libuv have whole milliseconds."""

import asyncio
import signal
from collections.abc import Generator
from contextlib import contextmanager
from time import perf_counter
from typing import Self


class Alarm:
    """Wakes a coroutine at a time, by a signal of the clock."""

    def __init__(self) -> None:
        self._future: asyncio.Future[None] | None = None

    @classmethod
    @contextmanager
    def set_up(cls) -> Generator[Self]:
        """Install the signal handler for the block; a process has only one, in its main thread."""
        alarm, loop = cls(), asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGALRM, alarm._ring)
        try:
            yield alarm
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            loop.remove_signal_handler(signal.SIGALRM)

    async def wait_until(self, moment: float) -> None:
        """Wait until a time of `perf_counter`; other tasks get their turn even if it has passed."""
        remaining = moment - perf_counter()
        if remaining <= 0:
            await asyncio.sleep(0)
            return
        self._future = asyncio.get_running_loop().create_future()
        signal.setitimer(signal.ITIMER_REAL, remaining)
        await self._future

    def _ring(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(None)
