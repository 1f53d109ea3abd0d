"""Validation of a prediction's input against its version's schema."""

import math
from collections.abc import Callable
from typing import Any, Final

import jsonschema_rs
import msgspec
from msgspec import Raw, json

from gateway.errors import BadRequest, InvalidInput, invalid_field, missing_field
from schemas.inputs import FILE_PREFIX, SEALED_PREFIX
from schemas.problem import InvalidField

RESERVED_PREFIX: Final = f"Text may not begin with {FILE_PREFIX} or {SEALED_PREFIX}"
NUL_REFUSED: Final = "NUL characters (\\u0000) are not allowed"
VARIANT_KEYWORDS: Final = "anyOf", "allOf", "oneOf"
TYPE_NAMES: Final[dict[type, str]] = {
    dict: "object",
    list: "array",
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    type(None): "null",
}


_decode_object = json.Decoder(dict[str, Any]).decode


class InputValidator:
    """A validator of inputs by the `Input` schema of a version, or by its `TrainingInput`."""

    def __init__(self, document: dict[str, Any], name: str = "Input") -> None:
        schema = {"$ref": f"#/components/schemas/{name}", "components": document.get("components", {})}
        self._schema = jsonschema_rs.Draft7Validator(schema, validate_formats=True)
        rules = document.get("components", {}).get("schemas", {}).get(name, {})
        properties: dict[str, dict[str, Any]] = rules.get("properties", {})
        self.properties = properties
        """Schemas of the inputs, by name."""
        self.required: frozenset[str] = frozenset(rules.get("required", ()))
        self._nullable = frozenset(name for name, rule in properties.items() if rule.get("nullable"))
        self.file_fields = frozenset(name for name, rule in properties.items() if _holds_within(rule, _is_file))
        """Names of inputs that take files, alone or in a list."""
        self.secret_fields = frozenset(name for name, rule in properties.items() if _holds_within(rule, _is_secret))

    def check(self, input: Raw) -> Raw:
        """Return the input as it is recorded and run, without nulls for nullable fields that were left out so.

        Raises `InvalidInput`, or `BadRequest` for a text that is not JSON.
        """
        text = bytes(input)
        if not text:
            raise missing_field("input")
        try:
            value = _decode_object(text)
        except msgspec.ValidationError as error:
            raise InvalidInput([_not_an_object(text)]) from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadRequest(f"Failed to parse request body as JSON: {error}") from error
        if b"\\u0000" in text and (path := _find_text(value, "input", _has_nul)):
            raise invalid_field(path, "pattern", NUL_REFUSED)
        # An escape may hide what a text begins with.
        if (b"samovar-" in text or b"\\u" in text) and (path := _find_text(value, "input", _has_reserved_prefix)):
            raise invalid_field(path, "pattern", RESERVED_PREFIX)
        empty = [name for name in self._nullable if name in value and value[name] is None]
        for name in empty:
            del value[name]
        if not self._schema.is_valid(value):
            raise InvalidInput([_as_invalid_field(error) for error in self._schema.iter_errors(value)])
        return Raw(json.encode(value)) if empty else Raw(text)


def _as_invalid_field(error: jsonschema_rs.ValidationError) -> InvalidField:
    """Describe a violation in the words that Replicate's clients know (gojsonschema's)."""
    field = ".".join(["input", *map(str, error.instance_path)])
    kind = error.kind
    limit: Any = kind.value
    match kind.name:
        case "required":
            type, text = "required", f"{kind.as_dict().get('property', limit)} is required"
        case "type":
            type, text = (
                "invalid_type",
                f"Invalid type. Expected: {_expected_types(error)}, given: {_type_name(error.instance)}",
            )
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


def _expected_types(error: jsonschema_rs.ValidationError) -> str:
    types: Any = error.kind.as_dict().get("types", error.kind.value)
    return types if isinstance(types, str) else "/".join(str(each) for each in types)


def _type_name(value: object) -> str:
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return "integer"
    return TYPE_NAMES.get(type(value), "unknown")


def _not_an_object(text: bytes) -> InvalidField:
    type_name = _type_name(json.decode(text))
    return InvalidField(
        type="invalid_type", field="input", description=f"Invalid type. Expected: object, given: {type_name}"
    )


def _find_text(value: object, path: str, is_bad: Callable[[str], bool]) -> str | None:
    """Return the path of the first text, key or value, for which `is_bad` holds."""
    match value:
        case str():
            return path if is_bad(value) else None
        case dict():
            pairs: list[tuple[Any, Any]] = list(value.items())  # pyright: ignore[reportUnknownArgumentType]
            keys = next((path for key, _ in pairs if is_bad(key)), None)
            return keys or next((at for key, each in pairs if (at := _find_text(each, f"{path}.{key}", is_bad))), None)
        case list():
            items: list[Any] = value  # pyright: ignore[reportUnknownVariableType]
            return next((at for i, each in enumerate(items) if (at := _find_text(each, f"{path}.{i}", is_bad))), None)
        case _:
            return None


def _has_nul(text: str) -> bool:
    """Return whether a text has a NUL character, which PostgreSQL cannot store."""
    return "\0" in text


def _has_reserved_prefix(text: str) -> bool:
    return text.startswith((FILE_PREFIX, SEALED_PREFIX))


def _holds_within(rule: dict[str, Any], holds: Callable[[dict[str, Any]], bool]) -> bool:
    """Return whether `holds` is true of a field's schema, of its items, or of one of its variants."""
    inner: list[Any] = [rule.get("items"), *(each for name in VARIANT_KEYWORDS for each in rule.get(name, ()))]
    return holds(rule) or any(_holds_within(each, holds) for each in inner if isinstance(each, dict))  # pyright: ignore[reportUnknownArgumentType]


def _is_file(rule: dict[str, Any]) -> bool:
    return rule.get("format") == "uri"


def _is_secret(rule: dict[str, Any]) -> bool:
    return bool(rule.get("x-cog-secret"))
