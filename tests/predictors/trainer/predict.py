"""A predictor that can also be trained."""

from cog import BasePredictor, Input


class Predictor(BasePredictor):
    def predict(self, number: int = Input()) -> int:
        return number + 1
