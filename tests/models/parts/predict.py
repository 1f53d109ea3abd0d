"""A predictor that yields its parts, and waits for a gate file after the first."""

import json
import time
from pathlib import Path

from cog import BasePredictor, ConcatenateIterator, Input


class Predictor(BasePredictor):
    def predict(
        self,
        parts: str = Input(description="A JSON list of strings"),
        gate: str = Input(description="A file; only the first part comes before it is there", default=""),
        fail: bool = Input(description="Raise after the last part", default=False),
    ) -> ConcatenateIterator[str]:
        for number, part in enumerate(json.loads(parts)):
            if gate and number:
                print(f"waiting at part {number}")
                while not Path(gate).exists():
                    time.sleep(0.005)
            yield part
        if fail:
            raise ValueError("no more parts")
