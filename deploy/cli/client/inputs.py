"""Inputs typed as `-i name=value`, converted to the types of the model's schema."""

import base64
import mimetypes
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from msgspec import DecodeError, json

from deploy.cli.client.api import Api, RequestRefused
from deploy.errors import UsageError

BOOLEANS: Final = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}
MAX_INLINE_BYTES: Final = 256_000  # of a file that travels in the request itself

Schema = Mapping[str, Any]
FileEncoder = Callable[[Path, str], str]
"""Turns a local file of some media type into the string that stands for it in an input."""


def data_uri(path: Path, media_type: str) -> str:
    """Encode a file as a `data:` URI."""
    return f"data:{media_type};base64,{base64.b64encode(path.read_bytes()).decode()}"


def file_encoder(api: Api) -> FileEncoder:
    """Return the encoder that uploads large files to the gateway and sends small ones inline."""
    return partial(_upload_or_inline, api)


def parse_inputs(pairs: Iterable[str], document: Schema, encode_file: FileEncoder = data_uri) -> dict[str, Any]:
    """Parse `name=value` pairs into the input of a prediction. Raises `UsageError`.

    A list takes one more item each time its name is repeated. `document` is the OpenAPI document of the version; an
    empty one accepts any name.
    """
    schemas = document.get("components", {}).get("schemas", {})
    properties: dict[str, Schema] = schemas.get("Input", {}).get("properties", {})
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"-i {pair}: write an input as name=value, or as name=@file")
        if properties and name not in properties:
            raise UsageError(f"input {name}: the model has no such input; it has {', '.join(properties)}")
        schema = resolve_schema(properties.get(name, {}), schemas)
        value = parse_value(name, text, schema, schemas, encode_file)
        previous = values.get(name)
        values[name] = [*previous, *value] if isinstance(previous, list) and isinstance(value, list) else value
    return values


def parse_value(name: str, text: str, schema: Schema, schemas: Schema, encode_file: FileEncoder = data_uri) -> Any:
    """Convert a text to the type of its schema; `@file` stands for the file, or for its text where the type is text."""
    kind = schema.get("type")
    if kind == "array":
        if text.startswith("["):
            return _convert(name, text, "a JSON list", _decode_json)
        return [parse_value(name, text, resolve_schema(schema.get("items", {}), schemas), schemas, encode_file)]
    if text.startswith("@"):
        return _read_file(name, Path(text[1:]).expanduser(), schema, encode_file)
    match kind:
        case "integer":
            return _convert(name, text, "a whole number", int)
        case "number":
            return _convert(name, text, "a number", float)
        case "boolean":
            return _convert(name, text, "true or false", lambda word: BOOLEANS[word.lower()])
        case "object":
            return _convert(name, text, "a JSON object", _decode_json)
        case "string":
            return text
        case _:
            return _json_or_text(text)


def resolve_schema(schema: Schema, schemas: Schema) -> Schema:
    """Follow the one `$ref` of a schema: enumerations are declared apart."""
    for part in (schema, *schema.get("allOf", ()), *schema.get("anyOf", ())):
        if name := str(part.get("$ref", "")).rpartition("/")[2]:
            return schemas.get(name, {})
        if part.get("type") not in (None, "null"):
            return part
    return schema


def guess_media_type(path: Path) -> str:
    """Guess the media type of a file from its name."""
    return mimetypes.guess_type(path.name)[0] or "application/octet-stream"


def _upload_or_inline(api: Api, path: Path, media_type: str) -> str:
    if path.stat().st_size > MAX_INLINE_BYTES:
        try:
            return api.upload_file(path, media_type)["urls"]["get"]
        except RequestRefused as error:
            if error.status != 404:  # a gateway that takes no uploads
                raise
    return data_uri(path, media_type)


def _convert(name: str, text: str, expected: str, convert: Callable[[str], Any]) -> Any:
    try:
        return convert(text)
    except (ValueError, KeyError, DecodeError):
        raise UsageError(f"input {name}: {text!r} is not {expected}") from None


def _decode_json(text: str) -> Any:
    return json.decode(text)


def _json_or_text(text: str) -> Any:
    try:
        return json.decode(text)
    except DecodeError:
        return text


def _read_file(name: str, path: Path, schema: Schema, encode_file: FileEncoder) -> str:
    try:
        if schema.get("format") == "uri" or schema.get("type") != "string":
            return encode_file(path, guess_media_type(path))
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"input {name}: {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise UsageError(f"input {name}: {path} is not a text file, and this input takes text") from None
