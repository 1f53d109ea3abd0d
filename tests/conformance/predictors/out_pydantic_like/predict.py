from dataclasses import dataclass

from cog import BasePredictor


class Modern:
    def model_dump(self):
        return {"way": "model_dump"}


class Ancient:
    def dict(self):
        return {"way": "dict"}


@dataclass
class Plain:
    way: str
    deep: list[Modern]


class Predictor(BasePredictor):
    def predict(self, which: str):
        return {"modern": Modern(), "ancient": Ancient(), "plain": Plain("dataclass", [Modern()])}[which]
