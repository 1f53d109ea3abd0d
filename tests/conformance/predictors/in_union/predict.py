from typing import Union

from cog import BasePredictor


class Predictor(BasePredictor):
    def predict(self, v: Union[int, str], w: str | list[str] = "w") -> str:
        return f"{v!r} {w!r}"
