from cog import BaseModel, BasePredictor
from cog.base_predictor import BasePredictor as Older


class Predictor(BasePredictor):
    def predict(self) -> str:
        return f"{BasePredictor is Older} {BaseModel.__name__}"
