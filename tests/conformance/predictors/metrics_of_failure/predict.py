from cog import BasePredictor


class Predictor(BasePredictor):
    def predict(self, fail: bool) -> str:
        self.record_metric("so_far", 3)
        if fail:
            raise ValueError("no more")
        return "done"
