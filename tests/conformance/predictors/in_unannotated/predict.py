from cog import BasePredictor


class Predictor(BasePredictor):
    def predict(self, x, y=2):
        return [x, y]
