"""What a client sends, read and checked: every refusal names the field and the reason."""

import math
import re
from collections.abc import Callable
from json import JSONDecoder
from typing import Any, Final, TypeVar

import httpx
import jsonschema_rs
import msgspec
from msgspec import Raw, Struct, json

from gateway.addresses import Reach
from gateway.errors import BadRequest, InvalidInput, Unprocessable, UnsupportedMedia
from schemas.inputs import FILE, SEALED
from schemas.problem import InvalidField

T = TypeVar("T")

RESERVED: Final = f"Text may not begin with {FILE} or {SEALED}"
NUL: Final = "NUL characters (\\u0000) are not allowed"
WAIT: Final = re.compile(r"wait(?:=(\d{1,3}))?")
SPAN: Final = re.compile(r"(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s?)?")
SMALLEST: Final = -(2**63)
LARGEST: Final = 2**64 - 1
LONGEST: Final = 24 * 3600  # seconds
SHORTEST: Final = 5

EVENTS: Final = ("start", "output", "logs", "completed")
UNKNOWN_EVENT: Final = f"webhook_events_filter takes {', '.join(EVENTS)}"
LONGEST_URL: Final = 2048
LONGEST_HOST: Final = 253
LAST_PORT: Final = 65535
ANYWHERE: Final = Reach(private=True)
VARIANTS: Final = "anyOf", "allOf", "oneOf"

TYPES: Final[dict[type, str]] = {
    dict: "object",
    list: "array",
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    type(None): "null",
}


class Body(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of the endpoints that create a prediction."""

    input: Raw = Raw()
    version: str | None = None
    stream: bool | None = None
    webhook: str | None = None
    webhook_completed: str | None = None
    webhook_events_filter: list[str] | None = None


_decode_object = json.Decoder(dict[str, Any]).decode
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


def hook(body: Body, reach: Reach = ANYWHERE) -> tuple[str | None, tuple[str, ...] | None]:
    """Where a prediction's webhooks go, and of what; None: output and completed. Raises `InvalidInput`.

    Names are looked up when something is sent; an address that is out of reach is refused here, too.
    """
    wanted = body.webhook_events_filter
    for event in wanted or ():
        if event not in EVENTS:
            raise wrong("webhook_events_filter", "enum", UNKNOWN_EVENT)
    for field, url in ("webhook", body.webhook), ("webhook_completed", body.webhook_completed):
        if url is not None and (reason := _no_receiver(url, reach)) is not None:
            raise wrong(field, "format", reason)
    if body.webhook is None and body.webhook_completed is not None:
        return body.webhook_completed, ("completed",)
    return body.webhook, tuple(event for event in EVENTS if event in wanted) if wanted else None


def _no_receiver(text: str, reach: Reach) -> str | None:
    """Why webhooks cannot be sent there."""
    if not text:
        return "Is empty; leave it out for no webhook"
    if len(text) > LONGEST_URL:
        return f"String length must be less than or equal to {LONGEST_URL}"
    if not text.isprintable() or " " in text:
        return "May have no blanks or control characters"
    try:
        url = httpx.URL(text)
        host = url.raw_host.decode("ascii").strip("[]")
    except (httpx.InvalidURL, ValueError) as error:
        return f"Does not match format 'uri': {error}"
    if url.scheme not in ("http", "https") or not host:
        return "Must be an address that begins with https:// or http://"
    if len(host) > LONGEST_HOST or not 0 < (1 if url.port is None else url.port) <= LAST_PORT:
        return "Has no host and port that could be reached"
    if url.userinfo:
        return "May have no user name or password; verify the signature instead"
    return reach.refusal_by_name(url.scheme, host)


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


def wait(prefer: str | None, longest: float) -> float | None:
    """Seconds to hold a create, from its `Prefer` header; None for not at all.

    Preferences that are not ours are ignored, as RFC 7240 asks. A little less than was asked: the answer has to be
    there before the client stops reading.
    """
    for preference in (prefer or "").split(","):
        found = WAIT.fullmatch(preference.strip().lower())
        if found:
            asked = min(int(found[1] or 60), 60)
            if asked < 1:
                raise Unprocessable("Prefer: wait takes 1 to 60 seconds.")
            return min(asked - 0.05, longest)
    return None


def cancel_after(header: str | None) -> float | None:
    """Seconds, from `30`, `30s`, `5m` or `1h30m45s`. Raises `Unprocessable`."""
    if header is None:
        return None
    found = SPAN.fullmatch(header.strip())
    if not found or not any(found.groups()):
        raise Unprocessable("Cancel-After: give a time span such as 30s, 5m or 1h30m45s.")
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    span = hours * 3600 + minutes * 60 + seconds
    if not SHORTEST <= span <= LONGEST:
        raise Unprocessable("Cancel-After: the time span must be from 5 seconds to 24 hours.")
    return float(span)


class Validator:
    """Inputs against the `Input` schema of a version, or its `TrainingInput`."""

    def __init__(self, document: dict[str, Any], name: str = "Input") -> None:
        schema = {"$ref": f"#/components/schemas/{name}", "components": document.get("components", {})}
        self._schema = jsonschema_rs.Draft7Validator(schema, validate_formats=True)
        wanted = document.get("components", {}).get("schemas", {}).get(name, {})
        properties: dict[str, dict[str, Any]] = wanted.get("properties", {})
        self.properties = properties
        """The schemas of the inputs, by name."""
        self.required: frozenset[str] = frozenset(wanted.get("required", ()))
        self._nullable = frozenset(name for name, rule in properties.items() if rule.get("nullable"))
        self.files = frozenset(name for name, rule in properties.items() if _any(rule, _is_file))
        """Fields that take files, alone or in a list."""
        self.secrets = frozenset(name for name, rule in properties.items() if _any(rule, _is_secret))

    def check(self, input: Raw) -> Raw:
        """The input as it is recorded and run: an explicit null for a nullable field means that it was left out.

        Raises `InvalidInput`.
        """
        text = bytes(input)
        if not text:
            raise missing("input")
        try:
            value = _decode_object(text)
        except msgspec.ValidationError as error:
            raise InvalidInput([_not_an_object(text)]) from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadRequest(f"Failed to parse request body as JSON: {error}") from error
        if b"\\u0000" in text and (path := _where(value, "input", _has_nul)):
            raise wrong(path, "pattern", NUL)
        # An escape may hide what a text begins with.
        if (b"samovar-" in text or b"\\u" in text) and (path := _where(value, "input", _reserved)):
            raise wrong(path, "pattern", RESERVED)
        empty = [name for name in self._nullable if name in value and value[name] is None]
        for name in empty:
            del value[name]
        if not self._schema.is_valid(value):
            raise InvalidInput([_field(error) for error in self._schema.iter_errors(value)])
        return Raw(json.encode(value)) if empty else Raw(text)


def _field(error: jsonschema_rs.ValidationError) -> InvalidField:
    """A violation in the words that Replicate's clients know (gojsonschema's)."""
    field = ".".join(["input", *map(str, error.instance_path)])
    kind = error.kind
    limit: Any = kind.value
    match kind.name:
        case "required":
            type, text = "required", f"{kind.as_dict().get('property', limit)} is required"
        case "type":
            type, text = "invalid_type", f"Invalid type. Expected: {_expected(error)}, given: {_given(error.instance)}"
        case "maximum":
            type, text = "number_lte", f"Must be less than or equal to {limit}"
        case "minimum":
            type, text = "number_gte", f"Must be greater than or equal to {limit}"
        case "exclusiveMaximum":
            type, text = "number_lt", f"Must be less than {limit}"
        case "exclusiveMinimum":
            type, text = "number_gt", f"Must be greater than {limit}"
        case "minLength":
            type, text = "string_gte", f"String length must be greater than or equal to {limit}"
        case "maxLength":
            type, text = "string_lte", f"String length must be less than or equal to {limit}"
        case "pattern":
            type, text = "pattern", f"Does not match pattern '{limit}'"
        case "enum":
            allowed = ", ".join(json.encode(option).decode() for option in limit)
            type, text = "enum", f"{field} must be one of the following: {allowed}"
        case "format":
            type, text = "format", f"Does not match format '{limit}'"
        case "minItems":
            type, text = "array_min_items", f"Array must have at least {limit} items"
        case "maxItems":
            type, text = "array_max_items", f"Array must have at most {limit} items"
        case name:
            type, text = name, error.message
    return InvalidField(type=type, field=field, description=text)


def _expected(error: jsonschema_rs.ValidationError) -> str:
    types: Any = error.kind.as_dict().get("types", error.kind.value)
    return types if isinstance(types, str) else "/".join(str(each) for each in types)


def _given(value: object) -> str:
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return "integer"
    return TYPES.get(type(value), "unknown")


def _not_an_object(text: bytes) -> InvalidField:
    given = _given(json.decode(text))
    return InvalidField(
        type="invalid_type", field="input", description=f"Invalid type. Expected: object, given: {given}"
    )


def _where(value: object, path: str, bad: Callable[[str], bool]) -> str | None:
    """Where the first text stands of which `bad` holds, be it a key."""
    match value:
        case str():
            return path if bad(value) else None
        case dict():
            pairs: list[tuple[Any, Any]] = list(value.items())  # pyright: ignore[reportUnknownArgumentType]
            keys = next((path for key, _ in pairs if bad(key)), None)
            return keys or next((at for key, each in pairs if (at := _where(each, f"{path}.{key}", bad))), None)
        case list():
            items: list[Any] = value  # pyright: ignore[reportUnknownVariableType]
            return next((at for i, each in enumerate(items) if (at := _where(each, f"{path}.{i}", bad))), None)
        case _:
            return None


def _has_nul(text: str) -> bool:
    """PostgreSQL cannot keep one."""
    return "\0" in text


def _reserved(text: str) -> bool:
    return text.startswith((FILE, SEALED))


def _any(rule: dict[str, Any], holds: Callable[[dict[str, Any]], bool]) -> bool:
    """Whether it holds of a field's schema, of what a list of it has as items, or of one of its variants."""
    inner: list[Any] = [rule.get("items"), *(each for name in VARIANTS for each in rule.get(name, ()))]
    return holds(rule) or any(_any(each, holds) for each in inner if isinstance(each, dict))  # pyright: ignore[reportUnknownArgumentType]


def _is_file(rule: dict[str, Any]) -> bool:
    return rule.get("format") == "uri"


def _is_secret(rule: dict[str, Any]) -> bool:
    return bool(rule.get("x-cog-secret"))


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


def missing(field: str) -> InvalidInput:
    return wrong("", "required", f"{field} is required")


def wrong(field: str, type: str, description: str) -> InvalidInput:
    """One field of a body; `type` is in gojsonschema's vocabulary where that has a word for it."""
    return InvalidInput([InvalidField(type=type, field=field, description=description)])
