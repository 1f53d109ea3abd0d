"""Says when its import and its set-up began and ended; it has a package, so an environment, of its own."""

import time

BEGUN = time.time()

from cog import BasePredictor  # noqa: E402
from roman_numerals import RomanNumeral  # noqa: E402

IMPORTED = time.time()


class Predictor(BasePredictor):
    def setup(self) -> None:
        self.numeral = str(RomanNumeral(2026))
        self.ready = time.time()

    def predict(self, text: str) -> dict[str, float]:
        assert self.numeral == "MMXXVI", text
        return {"begun": BEGUN, "imported": IMPORTED, "ready": self.ready}
