"""A predictor that returns file objects, one of more than five megabytes."""

import io

from cog import BasePredictor, File, Input


class Predictor(BasePredictor):
    def predict(self, size: int = Input(default=5_500_000, ge=1)) -> File:
        return io.BytesIO(b"\xff" * size)
