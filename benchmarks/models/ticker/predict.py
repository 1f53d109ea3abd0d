"""Yields its number and the time, again and again, for thousands of clients at once."""

import asyncio
import random
import time
from collections.abc import AsyncIterator

from cog import BasePredictor, Input


class Predictor(BasePredictor):
    """The predictor."""

    async def predict(
        self,
        ticks: int = Input(description="How many", ge=1, default=100),
        pause: float = Input(description="Seconds before each; before the first, any part of it", ge=0, default=0.0),
    ) -> AsyncIterator[str]:
        """Yield numbers and times."""
        await asyncio.sleep(random.random() * pause)
        for number in range(ticks):
            yield f"{number} {time.time_ns()}"
            await asyncio.sleep(pause)
