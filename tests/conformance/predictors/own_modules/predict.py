import gateway
import runners.own
import schemas
import utils
from cog import BasePredictor


class Predictor(BasePredictor):
    def predict(self) -> list[str]:
        return [schemas.NAME, utils.NAME, gateway.NAME, runners.own.NAME]
