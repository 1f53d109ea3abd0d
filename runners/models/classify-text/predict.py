"""Labels a text, by what was learned from examples."""

from pathlib import Path
from typing import Any

import head
from cog import BaseModel, BasePredictor, Input
from embedding import Embedding

NO_LABELS = (
    "this version has learned no labels yet: train it first, as in "
    "`samovar train samovar/classify-text --destination you/topics -i examples=@examples.csv`, and run what comes of it"
)


class Score(BaseModel):
    """A label and how well it fits."""

    label: str
    score: float


class Predictor(BasePredictor):
    """Labels texts, up to 32 in one forward pass."""

    max_batch_size = 32

    def setup(self, weights: str | None = None) -> None:
        """Load the trained layer, if there is one."""
        self.layer: Any = None
        self.labels: list[str] = []
        if weights:
            self.embedding = Embedding()
            self.layer, self.labels = head.load(Path(weights))
            self.layer.to(self.embedding.device)
            self.scores(["a first text, so that nobody waits for what happens only once"])

    def predict(self, text: str = Input(description="What to label; about 200 words are read")) -> list[Score]:
        """Return the scores of all labels for one text."""
        return self.scores([text])[0]

    def predict_batch(self, inputs: list[dict[str, Any]]) -> list[list[Score]]:
        """Return the scores of all labels for each text."""
        return self.scores([input["text"] for input in inputs])

    def scores(self, texts: list[str]) -> list[list[Score]]:
        """Return the scores of all labels for each text, the likeliest first."""
        if self.layer is None:
            raise ValueError(NO_LABELS)
        torch = self.embedding.torch
        with torch.no_grad():
            rows: list[list[float]] = torch.softmax(self.layer(self.embedding.embed(texts)), dim=1).tolist()
        return [self.rank(row) for row in rows]

    def rank(self, row: list[float]) -> list[Score]:
        """Return the labels with their scores, the likeliest first."""
        pairs = sorted(zip(self.labels, row, strict=True), key=lambda pair: -pair[1])
        return [Score(label=label, score=round(score, 6)) for label, score in pairs]
