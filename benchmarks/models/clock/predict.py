"""Yields the time, so that a client can tell how long it took to arrive."""

import time
from collections.abc import Iterator

from cog import BasePredictor, Input


class Predictor(BasePredictor):
    """The predictor."""

    def predict(self, ticks: int = Input(default=20, ge=1), pause: float = Input(default=0.05, ge=0)) -> Iterator[str]:
        """Yield the time, again and again."""
        for _ in range(ticks):
            time.sleep(pause)
            yield str(time.time_ns())
