from cog import BasePredictor


class Predictor(BasePredictor):
    def predict(self) -> str:
        return "predict"

    def run(self) -> str:
        return "run"
