from typing import Any

from cog import BasePredictor, Input


class Predictor(BasePredictor):
    def predict(self, n: int = Input(ge=1, le=10), free: int = 0) -> dict[str, Any]:
        return {"n": n, "free": free, "type": type(free).__name__}
