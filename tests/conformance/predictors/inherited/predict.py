from cog import BasePredictor


class Base(BasePredictor):
    def setup(self) -> None:
        self.word = "inherited"

    def predict(self, n: int = 1) -> str:
        return self.word * n


class Predictor(Base):
    pass
