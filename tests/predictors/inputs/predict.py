"""A predictor with every option of `Input`, and every simple type."""

from typing import Any, Optional

from cog import BasePredictor, Input


class Predictor(BasePredictor):
    def predict(
        self,
        text: str = Input(description="Between 2 and 8 letters", min_length=2, max_length=8, regex="^[a-z]+$"),
        unchecked: Any = Input(description="Any object"),
        count: int = Input(default=3, ge=1, le=10),
        scale: float = Input(default=0.5, ge=0, le=1),
        loud: bool = Input(default=False),
        size: str = Input(default="small", choices=["small", "large"]),
        level: int = Input(default=1, choices=[1, 2, 3]),
        nothing: str = Input(default=None),
        maybe: Optional[int] = Input(default=None, description="May be left out"),
        old: str = Input(default="", deprecated=True),
    ) -> dict[str, Any]:
        given = {name: value for name, value in locals().items() if name != "self"}
        return {"given": given, "types": {name: type(value).__name__ for name, value in given.items()}}
