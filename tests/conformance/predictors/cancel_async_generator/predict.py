import asyncio
from collections.abc import AsyncIterator

from cog import BasePredictor


def mark(path: str, text: str) -> None:
    with open(path, "a") as file:
        file.write(text)


class Predictor(BasePredictor):
    async def predict(self, marks: str) -> AsyncIterator[str]:
        try:
            yield "first"
            mark(marks, "begun;")
            await asyncio.sleep(20)
            yield "last"
        finally:
            mark(marks, "cleaned up;")
