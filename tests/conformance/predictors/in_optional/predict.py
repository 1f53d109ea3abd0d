from typing import Optional

from cog import BasePredictor, Input


class Predictor(BasePredictor):
    def predict(
        self,
        a: Optional[str] = None,
        b: Optional[int] = Input(description="No default.", ge=0),
        c: str | None = Input(default="see"),
    ) -> str:
        return f"{a!r} {b!r} {c!r}"
