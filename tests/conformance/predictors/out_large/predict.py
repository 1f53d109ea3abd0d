import tempfile

from cog import BasePredictor, Path


class Predictor(BasePredictor):
    def predict(self, megabytes: int) -> Path:
        with tempfile.NamedTemporaryFile(suffix=".bin", delete=False) as file:
            for number in range(megabytes):
                file.write(bytes([number]) * 1_000_000)
        return Path(file.name)
