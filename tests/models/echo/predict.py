"""Says what it was told, in each of the ways in which an input can be declared."""

from cog import BasePredictor, Input


class Predictor(BasePredictor):
    def predict(
        self,
        text: str = Input(description="What to say", max_length=100_000),
        times: int = Input(description="How often", default=1, ge=1, le=9),
        size: str = Input(description="How loud", default="small", choices=["small", "large"]),
        strength: float = Input(description="How strongly", default=0.5, ge=0, le=1),
    ) -> str:
        said = " ".join([text] * times)
        return said.upper() if size == "large" else said
