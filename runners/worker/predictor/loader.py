"""Loading a predictor: its code is found, imported and set up."""

import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TypeVar, cast

from msgspec import Struct

from ..cog.markers import CONCURRENCY, STREAMING
from ..cog.predictor import overridden
from ..errors import UnusablePredictor, describe_error
from .signature import Signature, read_signature
from .source_lines import line_of

N = TypeVar("N", int, float)
RunCoroutine = Callable[[Coroutine[Any, Any, Any]], Any]
"""Runs a coroutine to its end on one event loop, always the same."""

_METHODS: Final = ("run", "predict")
_BATCH_METHODS: Final = ("run_batch", "predict_batch")


class UnloadablePredictor(UnusablePredictor):
    """The predictor that cog.yaml names is missing or cannot be loaded."""

    stage = "import"


class Predictor(Struct, frozen=True):
    """A loaded predictor: its methods, its signature, and what it declares of batching and concurrency."""

    name: str
    setup: Callable[..., Any] | None
    predict: Callable[..., Any]
    predict_batch: Callable[[list[dict[str, Any]]], Any] | None
    signature: Signature
    max_batch_size: int
    max_batch_wait_ms: float
    concurrency: int = 1
    """How many predictions it takes at once; more than one only if it is async."""
    healthcheck: Callable[[], Any] | None = None
    streaming: bool = False
    batch_by: tuple[str, ...] = ()
    """Inputs that have to be equal within a batch."""

    @property
    def is_async(self) -> bool:
        """Whether one of its methods is async."""
        return any(_is_async(method) for method in (self.predict, self.predict_batch))

    @property
    def streams(self) -> bool:
        """Whether its output comes in chunks."""
        generates = inspect.isgeneratorfunction(self.predict) or inspect.isasyncgenfunction(self.predict)
        return self.signature.result.many or generates

    @property
    def needs_loop(self) -> bool:
        """Whether it or its set-up needs an event loop."""
        return self.is_async or _is_async(self.setup)


class Fault(Struct, frozen=True):
    """The reason why user code failed, and the line in the predictor's files."""

    message: str
    file: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}" if self.file else self.message


def load(folder: Path, ref: str, *, train: bool = False) -> Predictor:
    """Import the predictor that `ref` names (`file.py:Name`, or `file.py`), with `folder` as working directory.

    Raises `UnusablePredictor`, or whatever its module raises.
    """
    os.chdir(folder)
    if str(folder) not in sys.path[:1]:
        sys.path.insert(0, str(folder))
    file, _, name = ref.partition(":")
    module = _import(folder / file)
    return as_predictor(_find(module, name or "train" if train else name), train=train)


def as_predictor(target: object, *, train: bool = False) -> Predictor:
    """Return the predictor of a class, a function, or an object with the method. Raises `UnusablePredictor`."""
    if isinstance(target, type):
        return _from_object(_instantiate(target), train)
    if inspect.isroutine(target) or not _defined_methods(type(target), train):
        return _from_function(target, train)
    return _from_object(target, train)


def set_up(predictor: Predictor, run_coroutine: RunCoroutine | None) -> None:
    """Call the predictor's `setup`. An async one is run on the loop that async predictions will use."""
    if predictor.setup is None:
        return
    takes_weights = "weights" in inspect.signature(predictor.setup).parameters
    weights = {"weights": os.environ.get("COG_WEIGHTS") or None} if takes_weights else {}
    result = predictor.setup(**weights)
    if run_coroutine is not None and inspect.iscoroutine(result):
        run_coroutine(result)


def new_event_loop() -> RunCoroutine:
    """Make an event loop, and return what runs coroutines on it."""
    # Half of a worker's start, had all to import it.
    import asyncio

    return asyncio.Runner().run


def locate_fault(error: BaseException, folder: Path) -> Fault:
    """Describe an error, with the deepest line of the predictor's own files that it passed."""
    message = describe_error(error)
    if isinstance(error, UnusablePredictor):
        place = error.place
        return Fault(message, _relative(place.file, folder), place.line) if place else Fault(message)
    if isinstance(error, SyntaxError) and error.filename and _within(error.filename, folder):
        return Fault(f"{type(error).__name__}: {error.msg}", _relative(error.filename, folder), error.lineno)
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if _within(frame.filename, folder):
            return Fault(message, _relative(frame.filename, folder), frame.lineno)
    return Fault(message)


def _import(file: Path) -> ModuleType:
    if not file.is_file():
        raise UnloadablePredictor(
            f"{file.name}: there is no such file in the model's folder; cog.yaml names it as the predictor"
        )
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise UnloadablePredictor(f"{file.name}: a predictor is a .py file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    spec.loader.exec_module(module)
    return module


def _find(module: ModuleType, name: str) -> Any:
    """Return the module's object of that name. Without a name it is `Runner`, if that can run, else `Predictor`."""
    file = Path(module.__file__ or "").name
    if name:
        if not hasattr(module, name):
            raise UnloadablePredictor(f"{file}: it defines no {name}; cog.yaml names it")
        return getattr(module, name)
    runner, predictor = getattr(module, "Runner", None), getattr(module, "Predictor", None)
    if (
        predictor is None
        or (isinstance(runner, type) and len(_defined_methods(runner)) == 1)
        or inspect.isroutine(runner)
    ):
        if runner is None:
            raise UnloadablePredictor(
                f"{file}: it defines neither Runner nor Predictor; name yours in cog.yaml as {file}:Name"
            )
        return runner
    return predictor


def _defined_methods(kind: type[Any], train: bool = False) -> list[str]:
    return [name for name in (("train",) if train else _METHODS) if overridden(kind, name)]


def _instantiate(kind: type[Any]) -> Any:
    required = [
        name
        for name, parameter in inspect.signature(kind).parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if required:
        names = ", ".join(required)
        message = f"class {kind.__name__}: it is created without arguments, but __init__ requires {names}"
        raise UnloadablePredictor(message, line_of(kind))
    return kind()


def _from_object(predictor: Any, train: bool) -> Predictor:
    kind = cast("type[Any]", type(predictor))
    defined = _defined_methods(kind, train)
    if len(defined) != 1:
        raise UnloadablePredictor(f"class {kind.__name__} defines {_methods_problem(defined, train)}", line_of(kind))
    method = getattr(predictor, defined[0])
    batch = None if train else next((getattr(predictor, m) for m in _BATCH_METHODS if hasattr(predictor, m)), None)
    signature = read_signature(method)
    return Predictor(
        name=kind.__name__,
        setup=_setup(predictor),
        predict=method,
        predict_batch=batch,
        signature=signature,
        max_batch_size=_number("max_batch_size", predictor, 1) if batch else 1,
        max_batch_wait_ms=_number("max_batch_wait_ms", predictor, 0.0) if batch else 0.0,
        concurrency=1 if train else _concurrency(method),
        healthcheck=_healthcheck(predictor),
        streaming=bool(getattr(method, STREAMING, False)),
        batch_by=_batch_by(predictor, signature) if batch else (),
    )


def _methods_problem(defined: list[str], train: bool) -> str:
    if defined:
        return "both run and predict: keep one"
    return "no train: define it" if train else "neither run nor predict: define one"


def _from_function(function: Any, train: bool) -> Predictor:
    if not callable(function):
        raise UnloadablePredictor(f"{function!r} is neither a class nor a function; cog.yaml names it as the predictor")
    return Predictor(
        name=getattr(function, "__name__", "predict"),
        setup=None,
        predict=function,
        predict_batch=None,
        signature=read_signature(function if inspect.isroutine(function) else function.__call__),
        max_batch_size=1,
        max_batch_wait_ms=0.0,
        concurrency=1 if train else _concurrency(function),
        streaming=bool(getattr(function, STREAMING, False)),
    )


def _setup(predictor: Any) -> Callable[..., Any] | None:
    setup = getattr(predictor, "setup", None)
    if setup is None:
        return None
    for name, parameter in inspect.signature(setup).parameters.items():
        if name != "weights" and parameter.default is parameter.empty and parameter.kind not in _ANY_NUMBER:
            raise UnloadablePredictor(
                f"setup: it is called with weights or nothing, but requires {name}", line_of(setup)
            )
    return setup


_ANY_NUMBER: Final = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _healthcheck(predictor: Any) -> Callable[[], Any] | None:
    healthcheck = getattr(predictor, "healthcheck", None)
    return cast("Callable[[], Any]", healthcheck) if callable(healthcheck) else None


def _concurrency(method: Any) -> int:
    """Return what the operator or cog.yaml says, by the environment, or else the decorator."""
    override = os.environ.get("COG_MAX_CONCURRENCY")
    try:
        concurrency = int(override) if override else int(getattr(method, CONCURRENCY, 1))
    except ValueError:
        raise UnloadablePredictor(f"COG_MAX_CONCURRENCY is {override!r}, but it must be a number") from None
    if concurrency < 1:
        raise UnloadablePredictor(f"COG_MAX_CONCURRENCY is {concurrency}, but it must be at least 1")
    if concurrency > 1 and not _is_async(method):
        name = getattr(method, "__name__", "the predictor")
        raise UnloadablePredictor(
            f"{name} is not async, and only async functions take {concurrency} predictions at once; write `async def`, "
            "or set concurrency.max in cog.yaml to 1",
            line_of(method),
        )
    return concurrency


def _is_async(method: Any) -> bool:
    return inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method)


def _number(name: str, predictor: Any, default: N) -> N:
    """Return what the operator sets by the environment, or else the predictor's attribute."""
    override = os.environ.get(f"SAMOVAR_{name.upper()}")
    kind = type(default)
    try:
        value = kind(override if override is not None else getattr(predictor, name, default))
    except (TypeError, ValueError):
        raise UnloadablePredictor(f"{name} must be a number", line_of(type(predictor))) from None
    if value < kind(1 if kind is int else 0):
        message = f"{name} is {value}, but it must be at least {1 if kind is int else 0}"
        raise UnloadablePredictor(message, line_of(type(predictor)))
    return value


def _batch_by(predictor: Any, signature: Signature) -> tuple[str, ...]:
    value = getattr(predictor, "batch_by", ())
    names: Any = (value,) if isinstance(value, str) else value
    if not isinstance(names, list | tuple):
        message = f"batch_by is {value!r}, but it must be the name of an input, or a tuple of names"
        raise UnloadablePredictor(message, line_of(type(predictor)))
    inputs = [parameter.name for parameter in signature.parameters]
    for name in cast("list[Any]", names):
        if name not in inputs:
            message = f"batch_by names {name!r}, but the inputs are {', '.join(inputs)}"
            raise UnloadablePredictor(message, line_of(type(predictor)))
    return tuple(cast("list[str]", names))


def _within(file: str, folder: Path) -> bool:
    return Path(file).is_relative_to(folder)


def _relative(file: str, folder: Path) -> str:
    path = Path(file)
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else path.name
