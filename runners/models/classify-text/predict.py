"""Which of its labels fits a text, by what it was taught with examples."""

from pathlib import Path
from typing import Any

import head
from cog import BaseModel, BasePredictor, Input
from embedding import Embedding

UNTAUGHT = (
    "this version has learned no labels yet: train it first, as in "
    "`samovar train samovar/classify-text --destination you/topics -i examples=@examples.csv`, and run what comes of it"
)


class Score(BaseModel):
    label: str
    score: float


class Predictor(BasePredictor):
    max_batch_size = 32

    def setup(self, weights: str | None = None) -> None:
        self.layer: Any = None
        self.labels: list[str] = []
        if weights:
            self.embedding = Embedding()
            self.layer, self.labels = head.load(Path(weights))
            self.layer.to(self.embedding.device)
            self.scores(["a first one, so that nobody waits for what happens only once"])

    def predict(self, text: str = Input(description="What to label; about 200 words are read")) -> list[Score]:
        return self.scores([text])[0]

    def predict_batch(self, inputs: list[dict[str, Any]]) -> list[list[Score]]:
        return self.scores([input["text"] for input in inputs])

    def scores(self, texts: list[str]) -> list[list[Score]]:
        """All labels, the likeliest first."""
        if self.layer is None:
            raise ValueError(UNTAUGHT)
        torch = self.embedding.torch
        with torch.no_grad():
            rows: list[list[float]] = torch.softmax(self.layer(self.embedding.of(texts)), dim=1).tolist()
        return [self.told(row) for row in rows]

    def told(self, row: list[float]) -> list[Score]:
        found = sorted(zip(self.labels, row, strict=True), key=lambda pair: -pair[1])
        return [Score(label=label, score=round(score, 6)) for label, score in found]
