from typing import Annotated, Any

from cog import BasePredictor, Opaque


class Config(dict[str, Any]):
    pass


class Predictor(BasePredictor):
    def predict(self, config: Annotated[Config, Opaque]) -> str:
        return f"{sorted(config)}"
