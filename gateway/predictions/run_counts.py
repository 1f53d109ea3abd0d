"""Run counts of models, added up here and written now and then."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

import structlog

from gateway.errors import Unavailable

log = structlog.get_logger("samovar.counts")

EVERY = 5.0  # seconds; what a killed gateway has not written is lost: the predictions themselves are the truth


class RunCounts:
    def __init__(self, write: Callable[[Mapping[str, int]], Awaitable[None]]) -> None:
        self._write = write
        self._runs: Counter[str] = Counter()

    def add(self, model: str) -> None:
        self._runs[model] += 1

    async def serve(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(EVERY)
            await self.flush()

    async def flush(self) -> None:
        runs, self._runs = self._runs, Counter[str]()
        if not runs:
            return
        try:
            await self._write(runs)
        except Unavailable:
            self._runs.update(runs)
        except Exception:
            log.exception("run_counts_not_written")
