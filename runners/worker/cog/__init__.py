"""What a predictor sees as `cog`: import-compatible with the package of that name, and nothing of it inside."""

from .errors import CancelationException
from .files import File, Path
from .input import Input
from .iterators import AsyncConcatenateIterator, ConcatenateIterator
from .markers import concurrent, streaming
from .model import BaseModel
from .predictor import BasePredictor, BaseRunner
from .scope import Scope, current_scope
from .secret import Secret

__all__ = [
    "AsyncConcatenateIterator",
    "BaseModel",
    "BasePredictor",
    "BaseRunner",
    "CancelationException",
    "ConcatenateIterator",
    "File",
    "Input",
    "Path",
    "Scope",
    "Secret",
    "concurrent",
    "current_scope",
    "streaming",
]
