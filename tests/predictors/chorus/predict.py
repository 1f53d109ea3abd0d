"""A predictor that takes four calls at once, of which each waits for the others."""

import asyncio

from cog import AsyncConcatenateIterator, BasePredictor, Input, concurrent, streaming


class Predictor(BasePredictor):
    async def setup(self) -> None:
        self.changed = asyncio.Condition()
        self.singing = 0

    @streaming
    @concurrent(max=4)
    async def predict(
        self, voice: str = Input(), needs: int = Input(description="How many must sing", default=1, ge=1, le=4)
    ) -> AsyncConcatenateIterator[str]:
        yield f"{voice} waits, "
        async with self.changed:
            self.singing += 1
            self.changed.notify_all()
            await self.changed.wait_for(lambda: self.singing >= needs)
        print(f"only {voice} prints this")
        yield f"{voice} sings"

    async def healthcheck(self) -> bool:
        return self.changed is not None
