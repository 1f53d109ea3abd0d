"""A predictor that returns any JSON value, given as text."""

import json
from typing import Any

from cog import BasePredictor, Input


class Predictor(BasePredictor):
    def predict(self, value: str = Input(description="JSON")) -> Any:
        return json.loads(value)
