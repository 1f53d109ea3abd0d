from cog import BasePredictor, current_scope


class Predictor(BasePredictor):
    def predict(self) -> str:
        current_scope().record_metric("n", 1)
        try:
            current_scope().record_metric("n", "text")
        except Exception as error:
            return type(error).__name__
        return "nothing raised"
