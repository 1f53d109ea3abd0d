from cog import BasePredictor, Input


class Predictor(BasePredictor):
    def predict(self, *, a: int, b: str = "z", c: float = Input(default=1.5, le=2)) -> str:
        return f"{a} {b} {c}"
