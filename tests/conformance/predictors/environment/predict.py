import os

from cog import BasePredictor


class Predictor(BasePredictor):
    def predict(self) -> str:
        return f"{os.environ['GREETING']} {os.environ['EQUALS']}"
