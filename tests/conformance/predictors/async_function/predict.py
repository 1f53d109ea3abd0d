import asyncio


async def predict(text: str) -> str:
    await asyncio.sleep(0)
    return text.upper()
