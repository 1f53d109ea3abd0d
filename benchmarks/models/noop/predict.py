"""Does nothing: the cost of a prediction itself."""

from cog import BasePredictor, Input


class Predictor(BasePredictor):
    """The predictor."""

    def predict(self, text: str = Input(description="What to answer", default="")) -> str:
        """Return the text."""
        return text
