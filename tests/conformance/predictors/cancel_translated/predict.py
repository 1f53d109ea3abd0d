import time

from cog import BasePredictor, CancelationException


class Predictor(BasePredictor):
    def predict(self, marks: str, how: str) -> str:
        with open(marks, "a") as file:
            file.write("begun;")
        late = time.monotonic() + 20
        try:
            while time.monotonic() < late:
                pass
        except CancelationException:
            if how == "raises another":
                raise ValueError("while cleaning up") from None
            return "swallowed"
        return "ran to its end"
