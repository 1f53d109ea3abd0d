"""Yields the time, so that whoever gets it can tell how long it took."""

import time
from collections.abc import Iterator

from cog import BasePredictor, Input


class Predictor(BasePredictor):
    def predict(self, ticks: int = Input(default=20, ge=1), pause: float = Input(default=0.05, ge=0)) -> Iterator[str]:
        for _ in range(ticks):
            time.sleep(pause)
            yield str(time.time_ns())
