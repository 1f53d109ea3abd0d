"""What a predictor takes and gives, told without setting it up."""

import traceback
from pathlib import Path
from typing import Any, Final

from msgspec import DecodeError, json

from .loader import Fault, Predictor, fault, load
from .openapi import document
from .signature import Unusable
from .source_lines import Place

CONTRACT: Final = "0.23.1"
"""The version of Cog whose contract we keep."""

_HERE: Final = Path(__file__).parents[1]
_BUILT: Final = ".cog/openapi_schema.json"
"""Where `cog build` leaves a schema; it is taken as it is."""


def introspect(folder: Path, ref: str, fd: int, train: str | None = None) -> None:
    """Writes one JSON document: `schema`, `name` and what else is known; or `error`. `train` is a second ref."""
    text = json.encode(_told(folder, ref, train))
    with open(fd, "wb") as out:
        out.write(text)


def _told(folder: Path, ref: str, train: str | None) -> dict[str, Any]:
    stage = "import"
    try:
        predictor = load(folder, ref)
        trainer = load(folder, train, train=True) if train else None
        stage = "schema"
        return _known(predictor, _schema(folder, predictor, trainer))
    except BaseException as error:  # noqa: BLE001  sys.exit in user code is an answer too
        return {"error": _error(error, folder, stage)}


def _schema(folder: Path, predictor: Predictor, trainer: Predictor | None) -> dict[str, Any]:
    built = folder / _BUILT
    if not built.is_file():
        return document(predictor, trainer)
    try:
        return json.decode(built.read_bytes(), type=dict[str, Any])
    except DecodeError as error:
        raise Unusable(f"it is no JSON object: {error}; build it anew, or remove it", Place(str(built), 1)) from error


def _known(predictor: Predictor, schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "schema": schema,
        "cog_version": CONTRACT,
        "name": predictor.name,
        "max_batch_size": predictor.max_batch_size,
        "max_batch_wait_ms": predictor.max_batch_wait_ms,
        "concurrency": predictor.concurrency,
        "healthcheck": predictor.healthcheck is not None,
        "streaming": predictor.streaming,
    }


def _error(error: BaseException, folder: Path, stage: str) -> dict[str, Any]:
    found = fault(error, folder)
    stage = error.stage if isinstance(error, Unusable) else stage
    return {
        "stage": stage,
        "message": found.message,
        "file": found.file,
        "line": found.line,
        "trace": _trace(error, found),
    }


def _trace(error: BaseException, found: Fault) -> str:
    """As Python would print it, without what is ours or the importer's."""
    if isinstance(error, Unusable):
        return f"{found}\n"
    told = traceback.TracebackException.from_exception(error)
    seen: list[traceback.TracebackException] = []
    waiting = [told]
    while waiting:
        one = waiting.pop()
        seen.append(one)
        one.stack = traceback.StackSummary.from_list([frame for frame in one.stack if _theirs(frame.filename)])
        waiting += [inner for inner in (one.__cause__, one.__context__) if inner is not None and inner not in seen]
    return "".join(told.format())


def _theirs(file: str) -> bool:
    return not file.startswith("<frozen importlib") and not Path(file).is_relative_to(_HERE)
