"""What a predictor takes and gives, told without setting it up."""

from pathlib import Path
from typing import Any, Final

from msgspec import json

from .predictor import Predictor, fault, load
from .schema import document

CONTRACT: Final = "0.23.1"
"""The version of Cog whose contract we keep."""


def introspect(folder: Path, ref: str, fd: int) -> None:
    """Writes one JSON document: `schema`, `name`, and what is known of batches; or `error`."""
    text = json.encode(_told(folder, ref))
    with open(fd, "wb") as out:
        out.write(text)


def _told(folder: Path, ref: str) -> dict[str, Any]:
    built = folder / ".cog" / "openapi_schema.json"
    stage = "import"
    try:
        if built.is_file():
            stage = "schema"
            schema = json.decode(built.read_bytes(), type=dict[str, Any])
            return _known(schema, ref.partition(":")[2], 1, 0.0)
        predictor = load(folder, ref)
        stage = "schema"
        return _of(predictor)
    except BaseException as error:  # noqa: BLE001  sys.exit in user code is an answer too
        found = fault(error, folder)
        return {"error": {"stage": stage, "message": found.message, "file": found.file, "line": found.line}}


def _of(predictor: Predictor) -> dict[str, Any]:
    return _known(document(predictor), predictor.name, predictor.max_batch_size, predictor.max_batch_wait_ms)


def _known(schema: dict[str, Any], name: str, size: int, wait: float) -> dict[str, Any]:
    return {
        "schema": schema,
        "cog_version": CONTRACT,
        "name": name,
        "max_batch_size": size,
        "max_batch_wait_ms": wait,
    }
