from cog import BasePredictor, Input


class Predictor(BasePredictor):
    def predict(self, wanted: bool, other: bool = Input(default=True)) -> str:
        return f"{wanted!r} {other!r}"
