"""A predictor that can be trained, too."""

from cog import BasePredictor, Input


class Predictor(BasePredictor):
    def predict(self, number: int = Input()) -> int:
        return number + 1
