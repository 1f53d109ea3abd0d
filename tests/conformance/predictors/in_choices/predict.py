from cog import BasePredictor, Input


class Predictor(BasePredictor):
    def predict(
        self,
        style: str = Input(choices=["oil", "ink"]),
        size: int = Input(default=256, choices=[256, 512]),
    ) -> str:
        return f"{style} {size} {type(size).__name__}"
