"""To wake at a moment, more closely than an event loop does: the timers of epoll and libuv have whole milliseconds."""

import asyncio
import signal
from collections.abc import Generator
from contextlib import contextmanager
from time import perf_counter
from typing import Self


class Alarm:
    """Rings once, by a signal of the clock."""

    def __init__(self) -> None:
        self._rung: asyncio.Future[None] | None = None

    @classmethod
    @contextmanager
    def set_up(cls) -> Generator[Self]:
        """The process has one of them, and it is of the main thread."""
        alarm, loop = cls(), asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGALRM, alarm._ring)
        try:
            yield alarm
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            loop.remove_signal_handler(signal.SIGALRM)

    async def at(self, moment: float) -> None:
        """`moment` is one of `perf_counter`; others get their turn even if it has passed."""
        left = moment - perf_counter()
        if left <= 0:
            await asyncio.sleep(0)
            return
        self._rung = asyncio.get_running_loop().create_future()
        signal.setitimer(signal.ITIMER_REAL, left)
        await self._rung

    def _ring(self) -> None:
        if self._rung is not None and not self._rung.done():
            self._rung.set_result(None)
