import pathlib
import tempfile

from cog import BasePredictor, Path


class Predictor(BasePredictor):
    def predict(self) -> list[Path]:
        made = [Path(tempfile.mkdtemp()) / "out.txt" for _ in range(2)]
        for number, path in enumerate(made):
            path.write_text(f"number {number}")
        return [made[0], pathlib.Path(made[1])]
