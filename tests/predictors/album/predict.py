"""A predictor that yields several files of one name, one of them larger than any message."""

import tempfile
from collections.abc import Iterator

from cog import BasePredictor, Input, Path


class Predictor(BasePredictor):
    def predict(
        self, count: int = Input(default=2, ge=1, le=5), size: int = Input(default=6_000_000)
    ) -> Iterator[Path]:
        for number in range(count):
            path = Path(tempfile.mkdtemp()) / "picture.bin"
            path.write_bytes(bytes([number]) * (size if number == count - 1 else 3))
            print(f"{number + 1} of {count}")
            yield path
