from cog import BasePredictor


class Predictor(BasePredictor):
    def healthcheck(self) -> bool:
        return True

    def predict(self) -> str:
        return "fine"
