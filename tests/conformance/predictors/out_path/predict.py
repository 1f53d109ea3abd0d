import tempfile

from cog import BasePredictor, Path


class Predictor(BasePredictor):
    def predict(self, text: str = "some text", missing: bool = False) -> Path:
        path = Path(tempfile.mkdtemp()) / "out.txt"
        if not missing:
            path.write_text(text)
        return path
