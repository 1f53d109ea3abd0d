from cog import BasePredictor, Input


class Predictor(BasePredictor):
    def predict(
        self,
        none: str = Input(default=None),
        plain: int = 3,
        empty: str = "",
        flag: bool = Input(default=False, deprecated=True),
    ) -> str:
        return f"{none!r} {plain!r} {empty!r} {flag!r}"
