"""A predictor that yields chunks of a chosen size."""

from cog import BasePredictor, ConcatenateIterator, Input


class Predictor(BasePredictor):
    def predict(
        self,
        size: int = Input(description="Characters of each chunk"),
        count: int = Input(description="How many chunks", default=1),
    ) -> ConcatenateIterator[str]:
        for number in range(count):
            yield chr(97 + number % 26) * size
