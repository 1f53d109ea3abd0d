from cog import BasePredictor, current_scope


class Predictor(BasePredictor):
    def setup(self) -> None:
        current_scope().record_metric("n", 1)
        self.record_metric("m", 1)
        self.context = dict(current_scope().context)

    def predict(self) -> str:
        return f"{self.context} {dict(current_scope().context)}"
