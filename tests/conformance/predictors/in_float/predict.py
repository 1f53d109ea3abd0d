from typing import Any

from cog import BasePredictor, Input


class Predictor(BasePredictor):
    def predict(self, x: float = Input(default=0.5, ge=0, le=1)) -> dict[str, Any]:
        return {"x": x, "half": x / 2}
