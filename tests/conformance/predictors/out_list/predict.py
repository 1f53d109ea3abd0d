from cog import BasePredictor


class Predictor(BasePredictor):
    def predict(self, many: int = 2) -> list[str]:
        return [str(number) for number in range(many)]
