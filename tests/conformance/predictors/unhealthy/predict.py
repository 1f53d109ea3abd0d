from cog import BasePredictor


class Predictor(BasePredictor):
    well = True

    def healthcheck(self) -> bool:
        return self.well

    def predict(self) -> str:
        self.well = False
        return "fine"
