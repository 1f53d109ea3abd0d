import asyncio

import cog
from cog import BasePredictor, current_scope


class Predictor(BasePredictor):
    def setup(self) -> None:
        self.met = asyncio.Barrier(2)

    @cog.concurrent(max=2)
    async def predict(self, name: str) -> str:
        print(f"log of {name}")
        async with asyncio.timeout(10):
            await self.met.wait()
        current_scope().record_metric("name", name)
        return f"{name} met another"
