"""The smallest possible model: it says hello."""

from cog import BasePredictor, Input


class Predictor(BasePredictor):
    """Greets whoever is named."""

    def predict(self, text: str = Input(description="Whom to greet")) -> str:
        """Return the greeting."""
        return "hello " + text
