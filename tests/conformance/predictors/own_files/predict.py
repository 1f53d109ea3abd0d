import os

from cog import BasePredictor


class Predictor(BasePredictor):
    def setup(self) -> None:
        with open("words.txt") as file:
            self.words = file.read().split()

    def predict(self) -> str:
        here = os.path.samefile(os.getcwd(), os.path.dirname(os.path.abspath(__file__)))
        return f"{self.words} {here} {__name__}"
