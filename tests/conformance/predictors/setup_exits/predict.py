import sys

from cog import BasePredictor


class Predictor(BasePredictor):
    def setup(self) -> None:
        print("about to exit")
        sys.exit(3)

    def predict(self) -> str:
        return "never"
