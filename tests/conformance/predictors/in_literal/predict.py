from typing import Literal, Optional

from cog import BasePredictor, Input


class Predictor(BasePredictor):
    def predict(
        self,
        style: Literal["oil", "ink"],
        size: Literal[1, 2] = 1,
        mood: Optional[Literal["calm"]] = None,
        tone: Literal["low", "high"] = Input(default="low", description="How it sounds."),
    ) -> str:
        return f"{style} {size} {mood} {tone}"
