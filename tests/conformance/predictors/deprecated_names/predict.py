from cog import BasePredictor, ExperimentalFeatureWarning, emit_metric


class Predictor(BasePredictor):
    def predict(self) -> str:
        emit_metric("n", 2)
        return f"{issubclass(ExperimentalFeatureWarning, FutureWarning)}"
