"""What a client sends, read and checked: every refusal names the field and the reason."""

import math
import re
from json import JSONDecoder
from typing import Any, Final, TypeVar

import msgspec
from msgspec import json

from gateway.errors import BadRequest, InvalidInput, UnsupportedMedia, missing, wrong
from gateway.http.headers import LARGEST, SMALLEST
from gateway.predictions.request import Body

T = TypeVar("T")


_decoders: Final[dict[type, json.Decoder[Any]]] = {Body: json.Decoder(Body)}


def decoded(content: bytes, media_type: str, max_depth: int, kind: type[T]) -> T:
    """A JSON body of this kind. Raises a `BadRequest`, `UnsupportedMedia` or `InvalidInput`."""
    if media_type.partition(";")[0].strip().lower() not in {"application/json", ""}:
        raise UnsupportedMedia
    shallow(content, max_depth)
    decoder = _decoders.get(kind) or _decoders.setdefault(kind, json.Decoder(kind))
    try:
        read = decoder.decode(content)
        _strict.decode(content.decode())
    except msgspec.ValidationError as error:
        raise _wrong_field(error) from error
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise BadRequest(f"Failed to parse request body as JSON: {error}") from error
    return read


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of a key that stands twice readers take either value, and what was checked might not be what is run."""
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {json.encode(twice[:100]).decode()} stands more than once in an object")
    return found


def _bounded(digits: str) -> int:
    if len(digits) > len(str(LARGEST)) or not SMALLEST <= int(digits) <= LARGEST:
        raise ValueError(f"the number {digits[:20]}… is beyond 64 bits")
    return int(digits)


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"the number {text[:20]} is beyond the range of a double")
    return number


_strict: Final = JSONDecoder(object_pairs_hook=_once, parse_int=_bounded, parse_float=_finite)
"""Three microseconds for what most requests hold."""


def converted(fields: dict[str, Any], kind: type[T]) -> T:
    """What was decoded already, as this kind of body. Raises `InvalidInput`."""
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        raise _wrong_field(error) from error


def body(content: bytes, media_type: str, max_depth: int) -> Body:
    """A create request's. Raises like `decoded`."""
    return decoded(content, media_type, max_depth, Body)


def shallow(content: bytes, max_depth: int) -> None:
    """Raises `BadRequest` for JSON nested too deeply, before anything recursive reads it."""
    if content.count(b"[") + content.count(b"{") <= max_depth:
        return
    depth = 0
    in_string = escaped = False
    for byte in content:
        if in_string:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                in_string = False
        elif byte == 0x22:
            in_string = True
        elif byte in b"[{":
            depth += 1
            if depth > max_depth:
                raise BadRequest(f"The request body is nested more than {max_depth} levels deep.")
        elif byte in b"]}":
            depth -= 1


def _wrong_field(error: msgspec.ValidationError) -> InvalidInput:
    """Of the body itself, not of its input."""
    text = str(error)
    unknown = re.search(r"unknown field `(.+?)`", text)
    if unknown:
        return wrong("", "additional_property_not_allowed", f"Additional property {unknown[1]} is not allowed")
    if absent := re.search(r"missing required field `(.+?)`", text):
        return missing(absent[1])
    at = re.search(r" - at `\$\.?(.*)`$", text)
    reason = text[: at.start()] if at else text
    return wrong(at[1] if at else "", "invalid_type", reason)
