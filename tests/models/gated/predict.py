"""Ends when a file is there; on request it does not listen when it is told to stop."""

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
