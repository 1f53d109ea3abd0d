from typing import Optional

from cog import BasePredictor, File


class Predictor(BasePredictor):
    def setup(self, weights: Optional[File]) -> None:
        self.weights = weights

    def predict(self) -> str:
        return f"{self.weights}"
