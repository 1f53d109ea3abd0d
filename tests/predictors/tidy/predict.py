"""A predictor that cleans up when it is canceled, and has a healthcheck."""

import time

from cog import BasePredictor, CancelationException, Input


class Predictor(BasePredictor):
    def setup(self) -> None:
        self.open = 0

    def predict(self, seconds: float = Input(ge=0, le=600)) -> str:
        self.open += 1
        print("working")
        try:
            time.sleep(seconds)
        except CancelationException:
            print("tidied up")
            raise
        finally:
            self.open -= 1
        return f"{self.open} open"

    def healthcheck(self) -> bool:
        return self.open >= 0
