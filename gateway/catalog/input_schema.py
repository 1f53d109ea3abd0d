"""Validation of a prediction's input against its version's schema."""

import math
from collections.abc import Callable
from typing import Any, Final

import jsonschema_rs
import msgspec
from msgspec import Raw, json

from gateway.errors import BadRequest, InvalidInput, missing, wrong
from schemas.inputs import FILE, SEALED
from schemas.problem import InvalidField

RESERVED: Final = f"Text may not begin with {FILE} or {SEALED}"
NUL: Final = "NUL characters (\\u0000) are not allowed"
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


_decode_object = json.Decoder(dict[str, Any]).decode


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
