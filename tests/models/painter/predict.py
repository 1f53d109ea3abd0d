"""A predictor that writes one or several files."""

import tempfile
from pathlib import Path as LocalPath

from cog import BasePredictor, Input, Path


class Predictor(BasePredictor):
    def predict(self, text: str = Input(), count: int = Input(default=1, ge=1, le=5)) -> list[Path]:
        folder = LocalPath(tempfile.mkdtemp())
        files: list[Path] = []
        for number in range(count):
            file = folder / f"picture {number}.txt"
            file.write_text(f"{text} {number}")
            files.append(Path(file))
        return files
