from cog import BasePredictor, ConcatenateIterator


class Predictor(BasePredictor):
    def predict(self, text: str, fail: bool = False) -> ConcatenateIterator[str]:
        yield from text.split("_")
        if fail:
            raise ValueError("lost the thread")
