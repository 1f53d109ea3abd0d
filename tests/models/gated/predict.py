"""A predictor that runs until a file exists, and may ignore that it is stopped."""

import time
from pathlib import Path

from cog import BasePredictor, Input


class Predictor(BasePredictor):
    def predict(
        self,
        gate: str = Input(description="A file to wait for"),
        stubborn: bool = Input(description="Do not listen", default=False),
    ) -> str:
        print("waiting at the gate")
        while not Path(gate).exists():
            try:
                time.sleep(0.005)
            except BaseException:
                if not stubborn:
                    print("told to stop")
                    raise
        return "through"
