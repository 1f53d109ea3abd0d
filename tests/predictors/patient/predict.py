"""A slow async predictor that logs when it is stopped."""

import asyncio

from cog import BasePredictor, Input


class Predictor(BasePredictor):
    async def predict(self, seconds: float = Input(ge=0, le=600)) -> str:
        print("waiting")
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            print("put away in time")
            raise
        return "done"
