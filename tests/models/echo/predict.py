"""A predictor that returns its text, with each way to declare an input."""

from cog import BasePredictor, Input


class Predictor(BasePredictor):
    def predict(
        self,
        text: str = Input(description="What to say", max_length=100_000),
        times: int = Input(description="How often", default=1, ge=1, le=9),
        size: str = Input(description="How loud", default="small", choices=["small", "large"]),
        strength: float = Input(description="How strongly", default=0.5, ge=0, le=1),
    ) -> str:
        result = " ".join([text] * times)
        return result.upper() if size == "large" else result
