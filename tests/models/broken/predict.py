"""A predictor whose set-up fails."""

from cog import BasePredictor, Input


class Predictor(BasePredictor):
    def setup(self) -> None:
        raise RuntimeError("the weights are missing")

    def predict(self, text: str = Input()) -> str:
        return text
