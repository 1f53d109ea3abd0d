"""A predictor that answers batches with their size."""

from typing import Any

from cog import BasePredictor, Input


class Predictor(BasePredictor):
    max_batch_size = 8
    max_batch_wait_ms = 500

    def predict(self, text: str = Input()) -> str:
        return self.predict_batch([{"text": text}])[0]

    def predict_batch(self, inputs: list[dict[str, Any]]) -> list[Any]:
        return [
            ValueError("a sour note") if item["text"] == "sour" else f"{item['text']} in {len(inputs)}"
            for item in inputs
        ]
