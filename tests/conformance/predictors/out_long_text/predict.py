from cog import BasePredictor


class Predictor(BasePredictor):
    def predict(self, characters: int) -> str:
        return "x" * characters
