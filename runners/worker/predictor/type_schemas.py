"""JSON schemas of types, for inputs and outputs."""

import dataclasses
import datetime
import decimal
import io
import uuid
from collections.abc import (
    Collection,
    Hashable,
    Iterable,
    Mapping,
    MutableMapping,
    MutableSequence,
    Sequence,
    Set,
)
from enum import Enum
from typing import Any, Final, Literal, TypeVar, cast, get_args, get_origin, get_type_hints, is_typeddict

from ..cog.files import File, Path
from ..cog.model import BaseModel
from ..cog.secret import Secret
from ..type_hints import Opaque, is_union, split_optional, strip_annotated
from .signature import Unannotated

Schema = dict[str, Any]

_SIMPLE_SCHEMAS: Final[dict[Any, Schema]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    Path: {"type": "string", "format": "uri"},
    File: {"type": "string", "format": "uri"},
    Secret: {"type": "string", "format": "password", "writeOnly": True, "x-cog-secret": True},
    Any: {"type": "object"},
    Opaque: {"type": "object"},
    Unannotated: {},
    None: {},
    type(None): {},
}
_TEXT_TYPES: Final = (bytes, datetime.date, datetime.time, datetime.timedelta, decimal.Decimal, uuid.UUID)
_ARRAY_TYPES: Final = (list, tuple, set, frozenset)
_ABSTRACT_TYPES: Final = (Collection, Sequence, Mapping, MutableMapping, MutableSequence, Set)


class SchemaError(Exception):
    """A declaration of the predictor cannot be written in a schema."""


def input_schema(hint: Any) -> Schema:
    """Return the schema of an input. Inside a dict nothing is checked."""
    return _SchemaBuilder(items={}, values=False).build(hint)


def output_schema(hint: Any) -> Schema:
    """Return the schema of an output."""
    return _SchemaBuilder(items={"type": "object"}, values=True).build(hint)


def has_file(hint: Any) -> bool:
    """Return whether the type is a file, or contains one."""
    return is_file_type(hint) or any(has_file(inner) for inner in get_args(strip_annotated(hint)))


def is_file_type(hint: Any) -> bool:
    """Return whether the type is a path or an open file."""
    return isinstance(hint, type) and (hasattr(hint, "__fspath__") or issubclass(hint, io.IOBase))


def title(name: str) -> str:
    """Return a field's name as a title, each word with a capital."""
    return " ".join(word[:1].upper() + word[1:] for word in name.split("_"))


class _SchemaBuilder:
    """Builds the schema of a type from the inside out; a class that contains itself is an object there.

    `items` is the schema of a list's items if the type does not say, `values` whether dicts are looked into.
    """

    def __init__(self, items: Schema, values: bool) -> None:
        self._items = items
        self._values = values
        self._enclosing: list[type[Any]] = []

    def build(self, hint: Any) -> Schema:
        hint = strip_annotated(hint)
        if isinstance(hint, Hashable) and hint in _SIMPLE_SCHEMAS:
            return dict(_SIMPLE_SCHEMAS[hint])
        if is_union(hint):
            return self._union(hint)
        if get_origin(hint) is Literal:
            return _enum(get_args(hint))
        if isinstance(hint, TypeVar):
            return {}
        origin: Any = get_origin(hint) or hint
        if isinstance(origin, type):
            return self._class(origin, get_args(hint))
        raise SchemaError(f"the type {hint!r} cannot be written in a schema; write Any, or no annotation")

    def _union(self, hint: Any) -> Schema:
        rest, optional = split_optional(hint)
        schema = {"anyOf": [self.build(variant) for variant in get_args(rest)]} if is_union(rest) else self.build(rest)
        return {**schema, "nullable": True} if optional else schema

    def _class(self, kind: type[Any], arguments: tuple[Any, ...]) -> Schema:
        if is_typeddict(kind):
            return self._fields(kind) if self._values else {"type": "object"}
        if issubclass(kind, Enum):
            return _enum([member.value for member in kind])
        if kind in _ABSTRACT_TYPES or any(issubclass(kind, series) for series in _ARRAY_TYPES):
            return self._array(kind, arguments)
        if is_file_type(kind):
            return dict(_SIMPLE_SCHEMAS[Path])
        for simple in (str, bool, int, float, Secret):
            if issubclass(kind, simple):
                return dict(_SIMPLE_SCHEMAS[simple])
        if issubclass(kind, _TEXT_TYPES):
            return {"type": "string"}
        if issubclass(kind, BaseModel) or dataclasses.is_dataclass(kind) or _is_pydantic(kind):
            return self._fields(kind)
        if issubclass(kind, dict):
            return self._mapping(arguments)
        raise SchemaError(f"the type {kind.__name__} cannot be written in a schema; use cog.BaseModel for named fields")

    def _array(self, kind: Any, arguments: tuple[Any, ...]) -> Schema:
        if issubclass(kind, Mapping):
            return self._mapping(arguments)
        inner = [argument for argument in arguments if argument is not Ellipsis]
        if not inner:
            return {"type": "array", "items": dict(self._items)}
        schemas = [self.build(argument) for argument in inner]
        are_equal = all(schema == schemas[0] for schema in schemas)
        return {"type": "array", "items": schemas[0] if are_equal else {"anyOf": schemas}}

    def _mapping(self, arguments: tuple[Any, ...]) -> Schema:
        if not self._values or len(arguments) != 2:
            return {"type": "object"}
        return {"type": "object", "additionalProperties": self.build(arguments[1])}

    def _fields(self, kind: type[Any]) -> Schema:
        if kind in self._enclosing:
            return {"type": "object"}
        self._enclosing.append(kind)
        try:
            properties = {name: self._field(kind, name, hint) for name, hint in _hints(kind).items()}
        finally:
            self._enclosing.pop()
        schema: Schema = {"type": "object", "properties": properties}
        if required := [name for name in properties if _is_required(kind, name, properties[name])]:
            schema["required"] = required
        return schema

    def _field(self, kind: type[Any], name: str, hint: Any) -> Schema:
        try:
            return {**self.build(hint), "title": title(name)}
        except SchemaError as error:
            raise SchemaError(f"field {name} of {kind.__name__}: {error}") from None


def _hints(kind: type[Any]) -> dict[str, Any]:
    try:
        hints = get_type_hints(kind, include_extras=not is_typeddict(kind))
    except Exception as error:
        raise SchemaError(f"an annotation of {kind.__name__} cannot be resolved: {error}") from error
    if dataclasses.is_dataclass(kind):
        return {field.name: hints[field.name] for field in dataclasses.fields(kind)}
    if _is_pydantic(kind):
        return {name: hints[name] for name in _pydantic_fields(kind)}
    return {name: hint for name, hint in hints.items() if not name.startswith("_")}


def _is_required(kind: Any, name: str, schema: Schema) -> bool:
    """Return whether an object needs the field to be of that kind."""
    if is_typeddict(kind):
        return name in kind.__required_keys__ and not schema.get("nullable")
    if schema.get("nullable"):
        return False
    if dataclasses.is_dataclass(kind):
        field = next(field for field in dataclasses.fields(kind) if field.name == name)
        return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    if _is_pydantic(kind):
        required = getattr(_pydantic_fields(kind)[name], "is_required", None)
        return bool(required()) if callable(required) else bool(_pydantic_fields(kind)[name].required)
    return not hasattr(kind, name)


def _is_pydantic(kind: Any) -> bool:
    return any(base.__module__.partition(".")[0] == "pydantic" for base in cast("type[Any]", kind).__mro__)


def _pydantic_fields(kind: Any) -> dict[str, Any]:
    return getattr(kind, "model_fields", None) or getattr(kind, "__fields__", {})


def _enum(values: Iterable[Any]) -> Schema:
    values = list(values)
    kinds = {cast("type[Any]", type(value)) for value in values}
    schema = dict(_SIMPLE_SCHEMAS.get(kinds.pop(), {})) if len(kinds) == 1 else {}
    return {**schema, "enum": values}
