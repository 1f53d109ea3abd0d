"""`-i name=value` as inputs, typed by the model's schema."""

import base64
import mimetypes
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from msgspec import DecodeError, json

from deploy.errors import Unusable

TRUTH: Final = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}

Schema = Mapping[str, Any]
Send = Callable[[Path, str], str]
"""What stands in an input for a local file of some media type."""


def data_uri(path: Path, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(path.read_bytes()).decode()}"


def inputs(given: Iterable[str], document: Schema, send: Send = data_uri) -> dict[str, Any]:
    """The input of a prediction. A name given several times, for a list, adds to it."""
    schemas = document.get("components", {}).get("schemas", {})
    properties: dict[str, Schema] = schemas.get("Input", {}).get("properties", {})
    made: dict[str, Any] = {}
    for pair in given:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise Unusable(f"-i {pair}: an input is given as name=value, or as name=@file")
        if properties and name not in properties:
            raise Unusable(f"input {name}: the model has no such input; it has {', '.join(properties)}")
        schema = resolved(properties.get(name, {}), schemas)
        new = value(name, text, schema, schemas, send)
        made[name] = [*made[name], *new] if isinstance(made.get(name), list) and isinstance(new, list) else new
    return made


def value(name: str, text: str, schema: Schema, schemas: Schema, send: Send = data_uri) -> Any:
    """One value by its type; `@file` is the file's content, sent along where the model wants a file."""
    kind = schema.get("type")
    if kind == "array":
        if text.startswith("["):
            return _converted(name, text, "a JSON list", _json)
        return [value(name, text, resolved(schema.get("items", {}), schemas), schemas, send)]
    if text.startswith("@"):
        return _file(name, Path(text[1:]).expanduser(), schema, send)
    match kind:
        case "integer":
            return _converted(name, text, "a whole number", int)
        case "number":
            return _converted(name, text, "a number", float)
        case "boolean":
            return _converted(name, text, "true or false", lambda said: TRUTH[said.lower()])
        case "object":
            return _converted(name, text, "a JSON object", _json)
        case "string":
            return text
        case _:
            return _as_it_looks(text)


def resolved(schema: Schema, schemas: Schema) -> Schema:
    """With its one `$ref` followed: choices are declared apart."""
    for part in (schema, *schema.get("allOf", ()), *schema.get("anyOf", ())):
        if name := str(part.get("$ref", "")).rpartition("/")[2]:
            return schemas.get(name, {})
        if part.get("type") not in (None, "null"):
            return part
    return schema


def _converted(name: str, text: str, wanted: str, convert: Callable[[str], Any]) -> Any:
    try:
        return convert(text)
    except (ValueError, KeyError, DecodeError):
        raise Unusable(f"input {name}: {text!r} is not {wanted}") from None


def _json(text: str) -> Any:
    return json.decode(text)


def _as_it_looks(text: str) -> Any:
    try:
        return json.decode(text)
    except DecodeError:
        return text


def media_type(path: Path) -> str:
    """By its name."""
    return mimetypes.guess_type(path.name)[0] or "application/octet-stream"


def _file(name: str, path: Path, schema: Schema, send: Send) -> str:
    try:
        if schema.get("format") == "uri" or schema.get("type") != "string":
            return send(path, media_type(path))
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise Unusable(f"input {name}: {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise Unusable(f"input {name}: {path} is no text, and this input is") from None
