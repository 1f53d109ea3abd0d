"""Reports when its import and its set-up began and ended; it needs a package, so it has an environment of its own."""

import time

BEGUN = time.time()

from cog import BasePredictor  # noqa: E402
from roman_numerals import RomanNumeral  # noqa: E402

IMPORTED = time.time()


class Predictor(BasePredictor):
    """The predictor."""

    def setup(self) -> None:
        """Use the package."""
        self.numeral = str(RomanNumeral(2026))
        self.ready = time.time()

    def predict(self, text: str) -> dict[str, float]:
        """Return the times."""
        assert self.numeral == "MMXXVI", text
        return {"begun": BEGUN, "imported": IMPORTED, "ready": self.ready}
