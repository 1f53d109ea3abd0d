from __future__ import annotations

from typing import Optional

from cog import BasePredictor, ConcatenateIterator, Input, Secret


class Predictor(BasePredictor):
    def predict(
        self, words: list[str], limit: Optional[int] = None, key: Secret = Input(default=None)
    ) -> ConcatenateIterator[str]:
        yield from words[:limit]
