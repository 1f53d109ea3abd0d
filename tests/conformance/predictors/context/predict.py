from typing import Any

from cog import BasePredictor, current_scope


class Predictor(BasePredictor):
    def predict(self, text: str = "") -> dict[str, Any]:
        return {"context": dict(current_scope().context), "again": dict(self.scope.context), "text": text}
