import os

from cog import BasePredictor, Input, Path


class Predictor(BasePredictor):
    def predict(self, file: Path = Input(accept="text/*"), show: str = "text") -> str:
        if show == "suffix":
            return os.path.splitext(file)[1]
        if show == "type":
            return f"{isinstance(file, Path)} {file.is_file()} {os.path.isabs(file)}"
        if show == "size":
            return str(file.stat().st_size)
        return file.read_text()
