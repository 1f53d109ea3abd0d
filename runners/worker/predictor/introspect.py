"""Introspection: reading a predictor's inputs and outputs without setting it up."""

import traceback
from pathlib import Path
from typing import Any, Final

from msgspec import DecodeError, json

from ..errors import SourceLine, UnusablePredictor
from .loader import Fault, Predictor, load, locate_fault
from .openapi import document

CONTRACT: Final = "0.23.1"
"""The version of Cog whose contract we keep."""

_WORKER_FOLDER: Final = Path(__file__).parents[1]
_BUILT_SCHEMA: Final = ".cog/openapi_schema.json"
"""Where `cog build` leaves a schema, which is used as it is."""


def introspect(folder: Path, ref: str, fd: int, train: str | None = None) -> None:
    """Write one JSON document to `fd`: `schema`, `name` and the predictor's options, or `error`.

    `train` is the ref of its train function or method.
    """
    text = json.encode(_description(folder, ref, train))
    with open(fd, "wb") as out:
        out.write(text)


def _description(folder: Path, ref: str, train: str | None) -> dict[str, Any]:
    stage = "import"
    try:
        predictor = load(folder, ref)
        trainer = load(folder, train, train=True) if train else None
        stage = "schema"
        return _with_options(predictor, _schema(folder, predictor, trainer))
    except BaseException as error:  # noqa: BLE001  sys.exit in user code is an answer too
        return {"error": _error(error, folder, stage)}


def _schema(folder: Path, predictor: Predictor, trainer: Predictor | None) -> dict[str, Any]:
    file = folder / _BUILT_SCHEMA
    if not file.is_file():
        return document(predictor, trainer)
    try:
        return json.decode(file.read_bytes(), type=dict[str, Any])
    except DecodeError as error:
        message = f"it is not a JSON object: {error}; build it again, or remove it"
        raise UnusablePredictor(message, SourceLine(str(file), 1)) from error


def _with_options(predictor: Predictor, schema: dict[str, Any]) -> dict[str, Any]:
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
    fault = locate_fault(error, folder)
    stage = error.stage if isinstance(error, UnusablePredictor) else stage
    return {
        "stage": stage,
        "message": fault.message,
        "file": fault.file,
        "line": fault.line,
        "trace": _trace(error, fault),
    }


def _trace(error: BaseException, fault: Fault) -> str:
    """Format the traceback as Python would print it, without what is ours or the importer's."""
    if isinstance(error, UnusablePredictor):
        return f"{fault}\n"
    outermost = traceback.TracebackException.from_exception(error)
    visited: list[traceback.TracebackException] = []
    remaining = [outermost]
    while remaining:
        each = remaining.pop()
        visited.append(each)
        each.stack = traceback.StackSummary.from_list([frame for frame in each.stack if _is_theirs(frame.filename)])
        causes = (each.__cause__, each.__context__)
        remaining += [cause for cause in causes if cause is not None and cause not in visited]
    return "".join(outermost.format())


def _is_theirs(file: str) -> bool:
    return not file.startswith("<frozen importlib") and not Path(file).is_relative_to(_WORKER_FOLDER)
