"""Sleeps as long as a small model would compute, and leaves the cores to others meanwhile."""

import time

from cog import BasePredictor, Input


class Predictor(BasePredictor):
    """The predictor."""

    def predict(
        self,
        text: str = Input(description="What to answer", default=""),
        seconds: float = Input(description="How long to take", ge=0, default=0.01),
    ) -> str:
        """Sleep, and return the text."""
        time.sleep(seconds)
        return text
