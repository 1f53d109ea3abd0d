"""User code: found, imported, made ready."""

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
from .signature import Signature, Unusable, read
from .source_lines import of

N = TypeVar("N", int, float)
Run = Callable[[Coroutine[Any, Any, Any]], Any]

_METHODS: Final = ("run", "predict")
_BATCH_METHODS: Final = ("run_batch", "predict_batch")


class Unloadable(Unusable):
    """There is no predictor where cog.yaml says that it is."""

    stage = "import"


class Predictor(Struct, frozen=True):
    name: str
    setup: Callable[..., Any] | None
    predict: Callable[..., Any]
    predict_batch: Callable[[list[dict[str, Any]]], Any] | None
    signature: Signature
    max_batch_size: int
    max_batch_wait_ms: float
    concurrency: int = 1
    """How many predictions it takes at once; more than one only where it is async."""
    healthcheck: Callable[[], Any] | None = None
    streaming: bool = False
    batch_by: tuple[str, ...] = ()
    """Inputs that have to be equal within a batch."""

    @property
    def is_async(self) -> bool:
        return any(_is_async(method) for method in (self.predict, self.predict_batch))

    @property
    def streams(self) -> bool:
        """Its output comes in chunks."""
        generates = inspect.isgeneratorfunction(self.predict) or inspect.isasyncgenfunction(self.predict)
        return self.signature.result.many or generates

    @property
    def needs_loop(self) -> bool:
        return self.is_async or _is_async(self.setup)


class Fault(Struct, frozen=True):
    """Why user code could not be loaded, and where."""

    message: str
    file: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}" if self.file else self.message


def load(folder: Path, ref: str, *, train: bool = False) -> Predictor:
    """Import the predictor that `ref` (`file.py:Name`, or `file.py`) means, with `folder` as its home."""
    os.chdir(folder)
    if str(folder) not in sys.path[:1]:
        sys.path.insert(0, str(folder))
    file, _, name = ref.partition(":")
    module = _import(folder / file)
    return made(_named(module, name or "train" if train else name), train=train)


def made(found: object, *, train: bool = False) -> Predictor:
    """Out of a class, a function, or an object with the method."""
    if isinstance(found, type):
        return _of_object(_instance(found), train)
    if inspect.isroutine(found) or not _defined(type(found), train):
        return _of_function(found, train)
    return _of_object(found, train)


def set_up(predictor: Predictor, run: Run | None) -> None:
    """`run` carries out an async set-up, on the loop that async predictions will use."""
    if predictor.setup is None:
        return
    wanted = "weights" in inspect.signature(predictor.setup).parameters
    weights = {"weights": os.environ.get("COG_WEIGHTS") or None} if wanted else {}
    waiting = predictor.setup(**weights)
    if run is not None and inspect.iscoroutine(waiting):
        run(waiting)


def fault(error: BaseException, folder: Path) -> Fault:
    """The deepest place in the predictor's own files."""
    message = describe(error)
    if isinstance(error, Unusable):
        place = error.place
        return Fault(message, _short(place.file, folder), place.line) if place else Fault(message)
    if isinstance(error, SyntaxError) and error.filename and _within(error.filename, folder):
        return Fault(f"{type(error).__name__}: {error.msg}", _short(error.filename, folder), error.lineno)
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if _within(frame.filename, folder):
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
        raise Unloadable(
            f"{file.name}: there is no such file in the model's folder; cog.yaml names it as the predictor"
        )
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise Unloadable(f"{file.name}: a predictor is a .py file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    spec.loader.exec_module(module)
    return module


def _named(module: ModuleType, name: str) -> Any:
    """Without a name: `Runner` where it can be one, else `Predictor`."""
    file = Path(module.__file__ or "").name
    if name:
        if not hasattr(module, name):
            raise Unloadable(f"{file}: it defines no {name}; cog.yaml names it")
        return getattr(module, name)
    runner, predictor = getattr(module, "Runner", None), getattr(module, "Predictor", None)
    if predictor is None or (isinstance(runner, type) and len(_defined(runner)) == 1) or inspect.isroutine(runner):
        if runner is None:
            raise Unloadable(f"{file}: it defines neither Runner nor Predictor; name yours in cog.yaml as {file}:Name")
        return runner
    return predictor


def _defined(kind: type[Any], train: bool = False) -> list[str]:
    return [name for name in (("train",) if train else _METHODS) if overridden(kind, name)]


def _instance(kind: type[Any]) -> Any:
    required = [
        name
        for name, parameter in inspect.signature(kind).parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if required:
        wanted = ", ".join(required)
        raise Unloadable(f"class {kind.__name__}: it is made without arguments, and __init__ wants {wanted}", of(kind))
    return kind()


def _of_object(predictor: Any, train: bool) -> Predictor:
    kind = cast("type[Any]", type(predictor))
    defined = _defined(kind, train)
    if len(defined) != 1:
        raise Unloadable(f"class {kind.__name__} defines {_instead(defined, train)}", of(kind))
    method = getattr(predictor, defined[0])
    batch = None if train else next((getattr(predictor, m) for m in _BATCH_METHODS if hasattr(predictor, m)), None)
    signature = read(method)
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


def _instead(defined: list[str], train: bool) -> str:
    if defined:
        return "both run and predict: keep one"
    return "no train: define it" if train else "neither run nor predict: define one"


def _of_function(found: Any, train: bool) -> Predictor:
    if not callable(found):
        raise Unloadable(f"{found!r} is neither a class nor a function; cog.yaml names it as the predictor")
    return Predictor(
        name=getattr(found, "__name__", "predict"),
        setup=None,
        predict=found,
        predict_batch=None,
        signature=read(found if inspect.isroutine(found) else found.__call__),
        max_batch_size=1,
        max_batch_wait_ms=0.0,
        concurrency=1 if train else _concurrency(found),
        streaming=bool(getattr(found, STREAMING, False)),
    )


def _setup(predictor: Any) -> Callable[..., Any] | None:
    setup = getattr(predictor, "setup", None)
    if setup is None:
        return None
    for name, parameter in inspect.signature(setup).parameters.items():
        if name != "weights" and parameter.default is parameter.empty and parameter.kind not in _ANY_NUMBER:
            raise Unloadable(f"setup: it is given weights or nothing, and wants {name}", of(setup))
    return setup


_ANY_NUMBER: Final = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _healthcheck(predictor: Any) -> Callable[[], Any] | None:
    found = getattr(predictor, "healthcheck", None)
    return cast("Callable[[], Any]", found) if callable(found) else None


def _concurrency(method: Any) -> int:
    """The operator's or cog.yaml's word, which come by the environment, else the decorator's."""
    wish = os.environ.get("COG_MAX_CONCURRENCY")
    try:
        many = int(wish) if wish else int(getattr(method, CONCURRENCY, 1))
    except ValueError:
        raise Unloadable(f"COG_MAX_CONCURRENCY is {wish!r}, and must be a number") from None
    if many < 1:
        raise Unloadable(f"COG_MAX_CONCURRENCY is {many}, and must be at least 1")
    if many > 1 and not _is_async(method):
        name = getattr(method, "__name__", "the predictor")
        raise Unloadable(
            f"{name} is no async function, and only those take {many} predictions at once; write `async def`, or set "
            "concurrency.max in cog.yaml to 1",
            of(method),
        )
    return many


def _is_async(method: Any) -> bool:
    return inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method)


def _number(name: str, made: Any, default: N) -> N:
    """The operator's wish, else the predictor's word."""
    wish = os.environ.get(f"SAMOVAR_{name.upper()}")
    kind = type(default)
    try:
        value = kind(wish if wish is not None else getattr(made, name, default))
    except (TypeError, ValueError):
        raise Unloadable(f"{name} must be a number", of(type(made))) from None
    if value < kind(1 if kind is int else 0):
        raise Unloadable(f"{name} is {value}, and must be at least {1 if kind is int else 0}", of(type(made)))
    return value


def _batch_by(made: Any, signature: Signature) -> tuple[str, ...]:
    wish = getattr(made, "batch_by", ())
    names: Any = (wish,) if isinstance(wish, str) else wish
    if not isinstance(names, list | tuple):
        raise Unloadable(f"batch_by is {wish!r}, and must be the name of an input, or a tuple of names", of(type(made)))
    inputs = [parameter.name for parameter in signature.parameters]
    for name in cast("list[Any]", names):
        if name not in inputs:
            raise Unloadable(f"batch_by names {name!r}, and the inputs are {', '.join(inputs)}", of(type(made)))
    return tuple(cast("list[str]", names))


def _within(file: str, folder: Path) -> bool:
    return Path(file).is_relative_to(folder)


def _short(file: str, folder: Path) -> str:
    path = Path(file)
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else path.name


def loop() -> Run:
    # Half of a worker's start, had all to import it.
    import asyncio

    return asyncio.Runner().run
