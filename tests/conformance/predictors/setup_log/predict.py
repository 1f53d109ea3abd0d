import sys

from cog import BasePredictor


class Predictor(BasePredictor):
    def setup(self) -> None:
        print("loading weights")
        print("a warning", file=sys.stderr)

    def predict(self) -> str:
        print("predicting")
        return "done"
