from typing import List, Optional

from cog import BasePredictor, Input


class Predictor(BasePredictor):
    def predict(
        self,
        words: List[str],
        numbers: list[int] = Input(default=[1, 2], description="Some numbers."),
        more: Optional[list[float]] = None,
    ) -> str:
        return f"{words} {numbers} {more}"
