"""Does nothing: what a prediction costs that costs nothing."""

from cog import BasePredictor, Input


class Predictor(BasePredictor):
    def predict(self, text: str = Input(description="What to answer", default="")) -> str:
        return text
