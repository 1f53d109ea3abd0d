from cog import BasePredictor
from cog.types import CogPath, Weights


class Predictor(BasePredictor):
    def setup(self, weights: Weights | None = None) -> None:
        self.weights = weights

    def predict(self) -> str:
        return f"{self.weights} {CogPath('a')}"
