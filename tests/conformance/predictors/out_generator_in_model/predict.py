from collections.abc import AsyncIterator

from cog import BaseModel, BasePredictor


class Token(BaseModel):
    text: str
    at: int


class Predictor(BasePredictor):
    async def predict(self, text: str = "ab") -> AsyncIterator[Token]:
        for at, letter in enumerate(text):
            yield Token(text=letter, at=at)
