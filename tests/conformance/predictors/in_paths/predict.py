from typing import List, Optional

from cog import BasePredictor, Path


class Predictor(BasePredictor):
    def predict(self, files: List[Path], mask: Optional[Path] = None) -> str:
        texts = [file.read_text() for file in files]
        return f"{texts} {mask.read_text() if mask else None}"
