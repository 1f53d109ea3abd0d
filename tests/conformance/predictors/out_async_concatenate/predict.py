from cog import AsyncConcatenateIterator, BasePredictor


class Predictor(BasePredictor):
    async def predict(self, text: str, fail: bool = False) -> AsyncConcatenateIterator[str]:
        for word in text.split("_"):
            yield word
        if fail:
            raise ValueError("lost the thread")
