import io
import tempfile

from cog import BasePredictor, File


class Predictor(BasePredictor):
    def predict(self, opened: bool = False) -> File:
        if not opened:
            return io.BytesIO(b"from memory")
        with tempfile.NamedTemporaryFile("w", suffix=".txt", delete=False) as file:
            file.write("from disk")
        return open(file.name, "rb")
