"""Streams short words as fast as asked for: the cost of an event on its way to the client."""

import time
from collections.abc import Iterator

from cog import BasePredictor, Input


class Predictor(BasePredictor):
    """The predictor."""

    def predict(
        self,
        count: int = Input(description="How many", ge=0, default=100),
        pause: float = Input(description="Seconds before each", ge=0, default=0.0),
    ) -> Iterator[str]:
        """Yield words."""
        for number in range(count):
            if pause:
                time.sleep(pause)
            yield f"token{number} "
