from cog import BasePredictor


class Predictor(BasePredictor):
    def setup(self) -> None:
        print("about to fail")
        raise RuntimeError("no weights found")

    def predict(self) -> str:
        return "never"
