from typing import Optional

from cog import BasePredictor, Path


class Predictor(BasePredictor):
    def setup(self, weights: Optional[Path] = None) -> None:
        self.weights = weights

    def predict(self) -> str:
        return f"{type(self.weights).__name__} {self.weights}"
