import io

from cog import BasePredictor, File


class Predictor(BasePredictor):
    def predict(self, file: File) -> str:
        return f"{isinstance(file, io.IOBase)} {file.read().decode()}"
