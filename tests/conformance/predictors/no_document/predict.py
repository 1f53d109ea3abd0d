from cog import BasePredictor, Input


class Predictor(BasePredictor):
    def predict(self, n: int = Input(default=1, ge=0, le=9), word: str = Input(default="a", choices=["a", "b"])) -> str:
        return f"{n} {word}"
