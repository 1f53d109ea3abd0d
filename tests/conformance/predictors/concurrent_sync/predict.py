import cog
from cog import BasePredictor


class Predictor(BasePredictor):
    @cog.concurrent(max=2)
    def predict(self) -> str:
        return "never"
