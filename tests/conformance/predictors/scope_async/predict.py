import asyncio

from cog import BasePredictor, current_scope


async def deeper() -> None:
    await asyncio.sleep(0)
    current_scope().record_metric("from_a_task", 1)


class Predictor(BasePredictor):
    async def predict(self) -> str:
        await asyncio.create_task(deeper())
        await asyncio.to_thread(current_scope().record_metric, "from_a_thread", 2)
        return f"{dict(current_scope().context)}"
