import a_package_that_nobody_has
from cog import BasePredictor


class Predictor(BasePredictor):
    def predict(self) -> str:
        return a_package_that_nobody_has.__name__
