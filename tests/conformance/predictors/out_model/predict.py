from typing import Optional

from cog import BaseModel, BasePredictor


class Part(BaseModel):
    name: str
    weight: float = 1.0


class Output(BaseModel):
    text: str
    parts: list[Part]
    note: Optional[str] = None


class Predictor(BasePredictor):
    def predict(self, note: str = "") -> Output:
        return Output(text="whole", parts=[Part(name="a"), Part("b", 2.0)], note=note or None)
