from cog import BasePredictor


class Predictor(BasePredictor):
    def infer(self) -> str:
        return "infer"
