from cog import BasePredictor


class Predictor(BasePredictor):
    def predict(self, n: int, word: str = "code") -> str:
        return f"{n} {word}"
