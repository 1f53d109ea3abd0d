"""User code: found, imported, made ready."""

import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TypeVar, cast

from msgspec import Struct

from .signature import Signature, Unusable, read

N = TypeVar("N", int, float)
Run = Callable[[Coroutine[Any, Any, Any]], Any]

_NAMES: Final = ("Runner", "Predictor")
_METHODS: Final = ("run", "predict")
_BATCH_METHODS: Final = ("run_batch", "predict_batch")


class Predictor(Struct, frozen=True):
    name: str
    setup: Callable[[], Any] | None
    predict: Callable[..., Any]
    predict_batch: Callable[[list[dict[str, Any]]], Any] | None
    signature: Signature
    max_batch_size: int
    max_batch_wait_ms: float

    @property
    def is_async(self) -> bool:
        return any(
            inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method)
            for method in (self.predict, self.predict_batch)
        )

    @property
    def needs_loop(self) -> bool:
        return self.is_async or inspect.iscoroutinefunction(self.setup)


class Fault(Struct, frozen=True):
    """Why user code could not be loaded, and where."""

    message: str
    file: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}" if self.file else self.message


def load(folder: Path, ref: str) -> Predictor:
    """Import the predictor that `ref` (`file.py:Name`) means, with `folder` as its home."""
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    file, _, name = ref.partition(":")
    return made(_find(_import(folder / file), name))


def made(found: object) -> Predictor:
    """Out of a class or a function."""
    return _of_class(cast("type[Any]", found)) if isinstance(found, type) else _of_function(found)


def set_up(predictor: Predictor, run: Run | None) -> None:
    """`run` carries out an async set-up, on the loop that async predictions will use."""
    if predictor.setup is None:
        return
    weights = {"weights": None} if "weights" in inspect.signature(predictor.setup).parameters else {}
    waiting = predictor.setup(**weights)
    if run is not None and inspect.iscoroutine(waiting):
        run(waiting)


def fault(error: BaseException, folder: Path) -> Fault:
    """The deepest place in the predictor's own files."""
    message = describe(error)
    if isinstance(error, SyntaxError) and error.filename:
        return Fault(f"{type(error).__name__}: {error.msg}", _short(error.filename, folder), error.lineno)
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if Path(frame.filename).is_relative_to(folder):
            return Fault(message, _short(frame.filename, folder), frame.lineno)
    return Fault(message)


def describe(error: BaseException) -> str:
    match error:
        case SystemExit(code=code):
            return f"The predictor called sys.exit({code!r})"
        case Unusable():
            return str(error)
        case _:
            return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _import(file: Path) -> ModuleType:
    if not file.is_file():
        raise Unusable(f"{file.name}: there is no such file in the model's folder; cog.yaml names it as the predictor")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise Unusable(f"{file.name}: a predictor is a .py file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    spec.loader.exec_module(module)
    return module


def _find(module: ModuleType, name: str) -> Any:
    for candidate in (name, *_NAMES):
        if candidate and hasattr(module, candidate):
            return getattr(module, candidate)
    raise Unusable(f"{Path(module.__file__ or '').name}: it defines no {name or 'Predictor'}; cog.yaml names it")


def _of_class(kind: type[Any]) -> Predictor:
    defined = [method for method in _METHODS if callable(getattr(kind, method, None))]
    if len(defined) != 1:
        many = "both run and predict: keep one" if defined else "neither run nor predict: define one"
        raise Unusable(f"class {kind.__name__} defines {many}")
    made = kind()
    batch = next((getattr(made, method) for method in _BATCH_METHODS if hasattr(made, method)), None)
    return Predictor(
        name=kind.__name__,
        setup=getattr(made, "setup", None),
        predict=getattr(made, defined[0]),
        predict_batch=batch,
        signature=read(getattr(kind, defined[0])),
        max_batch_size=_number("max_batch_size", made, 1) if batch else 1,
        max_batch_wait_ms=_number("max_batch_wait_ms", made, 0.0) if batch else 0.0,
    )


def _of_function(found: Any) -> Predictor:
    if not callable(found):
        raise Unusable(f"{found!r} is neither a class nor a function")
    function = cast("Callable[..., Any | Awaitable[Any]]", found)
    name = getattr(function, "__name__", "predict")
    return Predictor(name, None, function, None, read(function), 1, 0.0)


def _number(name: str, made: Any, default: N) -> N:
    """The operator's wish, else the predictor's word."""
    wish = os.environ.get(f"SAMOVAR_{name.upper()}")
    kind = type(default)
    try:
        value = kind(wish if wish is not None else getattr(made, name, default))
    except (TypeError, ValueError):
        raise Unusable(f"{name} must be a number") from None
    if value < kind(1 if kind is int else 0):
        raise Unusable(f"{name} is {value}, and must be at least {1 if kind is int else 0}")
    return value


def _short(file: str, folder: Path) -> str:
    path = Path(file)
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else path.name
