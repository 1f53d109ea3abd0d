import tempfile
from collections.abc import Iterator

from cog import BasePredictor, Path


class Predictor(BasePredictor):
    def predict(self) -> Iterator[Path]:
        for number in range(3):
            path = Path(tempfile.mkdtemp()) / "frame.txt"
            path.write_text(f"frame {number}")
            yield path
