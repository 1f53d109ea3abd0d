"""The types under the names that older predictors import."""

from .files import File, Path, URLFile, URLPath
from .input import Input
from .iterators import AsyncConcatenateIterator, ConcatenateIterator
from .secret import Secret

CogFile = File
CogPath = Path
CogSecret = Secret
Weights = File | Path | str
"""The type of the parameter of `setup(weights)`. Its value is the text of `COG_WEIGHTS`, or None."""

__all__ = [
    "AsyncConcatenateIterator",
    "CogFile",
    "CogPath",
    "CogSecret",
    "ConcatenateIterator",
    "File",
    "Input",
    "Path",
    "Secret",
    "URLFile",
    "URLPath",
    "Weights",
]
