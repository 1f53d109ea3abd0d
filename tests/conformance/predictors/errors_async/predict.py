import asyncio
import sys

from cog import BasePredictor


class Predictor(BasePredictor):
    async def predict(self, how: str) -> str:
        print("so far so good")
        await asyncio.sleep(0)
        match how:
            case "text":
                raise ValueError("bad prompt")
            case "sys.exit":
                sys.exit(3)
            case "timeout":
                async with asyncio.timeout(0.01):
                    await asyncio.sleep(5)
            case _:
                return "fine"
        return "never"
