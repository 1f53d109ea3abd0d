import os
import time
from collections.abc import Iterator

import cog
from cog import BasePredictor


class Predictor(BasePredictor):
    @cog.streaming
    def predict(self, gate: str) -> Iterator[str]:
        yield "first"
        late = time.monotonic() + 2
        while not os.path.exists(gate) and time.monotonic() < late:
            time.sleep(0.005)
        yield "live" if os.path.exists(gate) else "late"
