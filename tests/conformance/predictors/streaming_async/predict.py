import asyncio
import os
import time

import cog
from cog import AsyncConcatenateIterator, BasePredictor


def waited(gate: str) -> str:
    late = time.monotonic() + 2
    while not os.path.exists(gate) and time.monotonic() < late:
        time.sleep(0.005)
    return "live" if os.path.exists(gate) else "late"


class Predictor(BasePredictor):
    @cog.streaming()
    async def predict(self, gate: str) -> AsyncConcatenateIterator[str]:
        yield "first"
        yield await asyncio.to_thread(waited, gate)
