"""A predictor that streams words which are joined."""

import time

from cog import BasePredictor, ConcatenateIterator, Input, streaming


class Predictor(BasePredictor):
    @streaming
    def predict(self, text: str = Input(), pause: float = Input(default=0, ge=0, le=60)) -> ConcatenateIterator[str]:
        for number, word in enumerate(text.split()):
            if number:
                time.sleep(pause)
                yield " "
            yield word
