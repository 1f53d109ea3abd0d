from typing import Any, Dict

from cog import BasePredictor


class Predictor(BasePredictor):
    def predict(self, a: dict, b: Dict[str, int], c: Any = None) -> Any:
        return {"a": a, "b": b, "c": c}
