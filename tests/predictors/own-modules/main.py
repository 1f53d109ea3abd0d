"""A predictor with modules of its own whose names others use, too."""

from pathlib import Path

import schemas
import utils
from cog import BasePredictor, Input
from gateway.door import opened
from runners import fast

HERE = Path(__file__).parent


class Predictor(BasePredictor):
    def predict(self, name: str = Input()) -> list[str]:
        files = sorted(
            str(path.relative_to(HERE)) for path in HERE.rglob("*") if path.is_file() and path.suffix != ".pyc"
        )
        return [schemas.greeting(name), utils.loud(name), opened(name), fast.run(name), *files]
