"""A predictor that greets as it was trained to."""

from pathlib import Path as Folder

from cog import BasePredictor, Input, Path


class Predictor(BasePredictor):
    def setup(self, weights: Path | None = None) -> None:
        self.greeting = Folder(weights).read_text() if weights else "hello"

    def predict(self, name: str = Input(description="Whom to greet")) -> str:
        return f"{self.greeting} {name}"
