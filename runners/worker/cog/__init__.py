"""The package that predictors import as `cog`: compatible with Cog's own, and independent of it."""

import sys
from typing import Any, Final

from .errors import CancelationException
from .files import File, Path, URLFile, URLPath
from .input import FieldInfo, Input
from .iterators import AsyncConcatenateIterator, ConcatenateIterator
from .markers import concurrent, streaming
from .model import BaseModel
from .opaque import Opaque
from .predictor import BasePredictor, BaseRunner
from .scope import Scope, current_scope
from .secret import Secret

__version__: Final = "0.23.1"
"""The release whose contract this keeps."""

# Without the deprecated names: a star import would warn of names that nobody uses.
__all__ = [
    "AsyncConcatenateIterator",
    "BaseModel",
    "BasePredictor",
    "BaseRunner",
    "CancelationException",
    "ConcatenateIterator",
    "FieldInfo",
    "File",
    "Input",
    "Opaque",
    "Path",
    "Scope",
    "Secret",
    "URLFile",
    "URLPath",
    "__version__",
    "concurrent",
    "current_scope",
    "streaming",
]

_DEPRECATED: Final = {
    "ExperimentalFeatureWarning": "nothing here is experimental any more: remove the import and its warning filter",
    "emit_metric": "call current_scope().record_metric(name, value)",
}


def __getattr__(name: str) -> Any:
    """Return a deprecated name, and warn of it once, where a filter for warnings cannot hide it."""
    if name not in _DEPRECATED:
        raise AttributeError(f"module 'cog' has no attribute {name!r}")
    sys.stderr.write(f"cog: {name} is deprecated; {_DEPRECATED[name]}\n")
    from . import deprecated

    value = getattr(deprecated, name)
    globals()[name] = value  # the next look-up does not come here
    return value
