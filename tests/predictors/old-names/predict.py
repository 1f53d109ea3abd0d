"""A predictor as they were written years ago, with deprecated names and with weights for its set-up."""

import pathlib
from typing import Optional

from cog import BasePredictor, ExperimentalFeatureWarning, File, Input, URLFile, emit_metric
from cog.exceptions import CancelationException
from cog.server.exceptions import CancelationException as Canceled
from cog.types import CogPath, Weights


class Predictor(BasePredictor):
    def setup(self, weights: Optional[Weights] = None) -> None:
        print(f"the weights are {weights}")
        self.weights = pathlib.Path(str(weights)).read_text().strip()

    def predict(self, file: File = Input(description="Read at once")) -> str:
        same = CancelationException is Canceled and issubclass(ExperimentalFeatureWarning, Warning)
        content = file.read()
        emit_metric("bytes_read", len(content))
        known = isinstance(CogPath("."), pathlib.Path) and isinstance(URLFile, type)
        return f"{content.decode()} {self.weights} {same and known}"
