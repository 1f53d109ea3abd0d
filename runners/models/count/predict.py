"""A counter, slow if you like: for watching an output grow, and for stopping it."""

import time
from collections.abc import Iterator

from cog import BasePredictor, Input


class Predictor(BasePredictor):
    """Counts from 0."""

    def predict(
        self,
        n: int = Input(description="How far to count", ge=0),
        delay: float = Input(description="Seconds to wait before each number", ge=0, default=0),
    ) -> Iterator[str]:
        """Yield each number as text."""
        for number in range(n):
            if delay:
                time.sleep(delay)
            yield str(number)
