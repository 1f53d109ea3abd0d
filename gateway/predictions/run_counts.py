"""Run counts of models: added up in memory, and written now and then."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

import structlog

from gateway.errors import Unavailable

log = structlog.get_logger("samovar.run_counts")

FLUSH_SECONDS = 5.0  # seconds; what a killed gateway has not written is lost: the predictions themselves are the truth


class RunCounts:
    """The runs of each model since they were last written."""

    def __init__(self, write: Callable[[Mapping[str, int]], Awaitable[None]]) -> None:
        self._write = write
        self._counts: Counter[str] = Counter()

    def count(self, model: str) -> None:
        """Count a run of a model, by its full name."""
        self._counts[model] += 1

    async def serve(self) -> None:
        """Write the counts now and then until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await self.flush()

    async def flush(self) -> None:
        """Write the counts; those that cannot be written now are kept for the next time."""
        counts, self._counts = self._counts, Counter[str]()
        if not counts:
            return
        try:
            await self._write(counts)
        except Unavailable:
            self._counts.update(counts)
        except Exception:
            log.exception("run_counts_not_written")
