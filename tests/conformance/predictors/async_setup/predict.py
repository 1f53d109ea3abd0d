import asyncio

from cog import BasePredictor


class Predictor(BasePredictor):
    async def setup(self) -> None:
        await asyncio.sleep(0)
        self.word = "set up"

    async def predict(self) -> str:
        return self.word
