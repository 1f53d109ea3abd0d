"""The types under the name that older predictors import them by."""

from .files import File, Path, URLFile, URLPath
from .input import Input
from .iterators import AsyncConcatenateIterator, ConcatenateIterator
from .secret import Secret

CogFile = File
CogPath = Path
CogSecret = Secret
Weights = File | Path | str
"""Of `setup(weights)`. What comes is the text of `COG_WEIGHTS`, or None."""

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
