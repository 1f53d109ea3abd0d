"""Answers with a megabyte of text that hardly compresses."""

import base64
import random

from cog import BasePredictor, Input

SIZE = 1_000_000


class Predictor(BasePredictor):
    """The predictor."""

    def setup(self) -> None:
        """Create the text."""
        content = random.Random(6).randbytes(SIZE * 3 // 4)
        self.text = base64.b64encode(content).decode()

    def predict(self, text: str = Input(description="Is not read", default="")) -> str:
        """Return the text."""
        return self.text
