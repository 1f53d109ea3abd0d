import cog.types
from cog.errors import CogError
from cog.input import Input
from cog.model import BaseModel
from cog.predictor import BasePredictor
from cog.types import AsyncConcatenateIterator, ConcatenateIterator, File, Path, Secret, URLFile, URLPath

NAMES = (AsyncConcatenateIterator, ConcatenateIterator, File, Path, Secret, URLFile, URLPath, BaseModel, CogError)


class Predictor(BasePredictor):
    def predict(self, text: str = Input(default="a")) -> str:
        return f"{cog.types.Path is Path} {[name.__name__ for name in NAMES]} {text}"
