import tempfile
from typing import Any

from cog import BaseModel, BasePredictor, Path


class Output(BaseModel):
    file: Path
    more: dict[str, Any]


class Predictor(BasePredictor):
    def predict(self, deep: bool = True) -> Output:
        folder = Path(tempfile.mkdtemp())
        for name in ("a.txt", "b.txt"):
            (folder / name).write_text(name)
        return Output(file=folder / "a.txt", more={"list": [folder / "b.txt"]} if deep else {})
