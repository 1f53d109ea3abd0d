import time
from collections.abc import Iterator

from cog import BasePredictor


class Predictor(BasePredictor):
    def predict(self, marks: str) -> Iterator[str]:
        try:
            yield "first"
            print("begun")
            with open(marks, "a") as file:
                file.write("begun;")
            late = time.monotonic() + 20
            while time.monotonic() < late:
                pass
            yield "last"
        finally:
            with open(marks, "a") as file:
                file.write("cleaned up;")
