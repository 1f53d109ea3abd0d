"""Types as schemas: what may come in, and what goes out."""

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
from .signature import Opaque, Unsaid, bare, is_union, without_none

Schema = dict[str, Any]

_SIMPLE: Final[dict[Any, Schema]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    Path: {"type": "string", "format": "uri"},
    File: {"type": "string", "format": "uri"},
    Secret: {"type": "string", "format": "password", "writeOnly": True, "x-cog-secret": True},
    Any: {"type": "object"},
    Opaque: {"type": "object"},
    Unsaid: {},
    None: {},
    type(None): {},
}
_TEXTS: Final = (bytes, datetime.date, datetime.time, datetime.timedelta, decimal.Decimal, uuid.UUID)
_SERIES: Final = (list, tuple, set, frozenset)
_ABSTRACT: Final = (Collection, Sequence, Mapping, MutableMapping, MutableSequence, Set)


class Untellable(Exception):
    """A schema has no word for this."""


def of_input(hint: Any) -> Schema:
    """A dict is an object whose inside nobody checks."""
    return _Teller(items={}, values=False).tell(hint)


def of_output(hint: Any) -> Schema:
    return _Teller(items={"type": "object"}, values=True).tell(hint)


def has_file(hint: Any) -> bool:
    return is_file(hint) or any(has_file(inner) for inner in get_args(bare(hint)))


def is_file(hint: Any) -> bool:
    return isinstance(hint, type) and (hasattr(hint, "__fspath__") or issubclass(hint, io.IOBase))


def title(name: str) -> str:
    return " ".join(word[:1].upper() + word[1:] for word in name.split("_"))


class _Teller:
    """Goes down into a type; a class that contains itself is an object there."""

    def __init__(self, items: Schema, values: bool) -> None:
        self._items = items
        self._values = values
        self._above: list[type[Any]] = []

    def tell(self, hint: Any) -> Schema:
        hint = bare(hint)
        if isinstance(hint, Hashable) and hint in _SIMPLE:
            return dict(_SIMPLE[hint])
        if is_union(hint):
            return self._union(hint)
        if get_origin(hint) is Literal:
            return _one_of(get_args(hint))
        if isinstance(hint, TypeVar):
            return {}
        origin: Any = get_origin(hint) or hint
        if isinstance(origin, type):
            return self._class(origin, get_args(hint))
        raise Untellable(f"the type {hint!r} cannot be told in a schema; write Any, or no annotation")

    def _union(self, hint: Any) -> Schema:
        rest, optional = without_none(hint)
        told = {"anyOf": [self.tell(variant) for variant in get_args(rest)]} if is_union(rest) else self.tell(rest)
        return {**told, "nullable": True} if optional else told

    def _class(self, kind: type[Any], arguments: tuple[Any, ...]) -> Schema:
        if is_typeddict(kind):
            return self._fields(kind) if self._values else {"type": "object"}
        if issubclass(kind, Enum):
            return _one_of([member.value for member in kind])
        if kind in _ABSTRACT or any(issubclass(kind, series) for series in _SERIES):
            return self._many(kind, arguments)
        if is_file(kind):
            return dict(_SIMPLE[Path])
        for simple in (str, bool, int, float, Secret):
            if issubclass(kind, simple):
                return dict(_SIMPLE[simple])
        if issubclass(kind, _TEXTS):
            return {"type": "string"}
        if issubclass(kind, BaseModel) or dataclasses.is_dataclass(kind) or _is_pydantic(kind):
            return self._fields(kind)
        if issubclass(kind, dict):
            return self._mapping(arguments)
        raise Untellable(f"the type {kind.__name__} cannot be told in a schema; use cog.BaseModel for named fields")

    def _many(self, kind: Any, arguments: tuple[Any, ...]) -> Schema:
        if issubclass(kind, Mapping):
            return self._mapping(arguments)
        inner = [argument for argument in arguments if argument is not Ellipsis]
        if not inner:
            return {"type": "array", "items": dict(self._items)}
        told = [self.tell(argument) for argument in inner]
        alike = all(schema == told[0] for schema in told)
        return {"type": "array", "items": told[0] if alike else {"anyOf": told}}

    def _mapping(self, arguments: tuple[Any, ...]) -> Schema:
        if not self._values or len(arguments) != 2:
            return {"type": "object"}
        return {"type": "object", "additionalProperties": self.tell(arguments[1])}

    def _fields(self, kind: type[Any]) -> Schema:
        if kind in self._above:
            return {"type": "object"}
        self._above.append(kind)
        try:
            properties = {name: self._field(kind, name, hint) for name, hint in _hints(kind).items()}
        finally:
            self._above.pop()
        schema: Schema = {"type": "object", "properties": properties}
        if required := [name for name in properties if _needed(kind, name, properties[name])]:
            schema["required"] = required
        return schema

    def _field(self, kind: type[Any], name: str, hint: Any) -> Schema:
        try:
            return {**self.tell(hint), "title": title(name)}
        except Untellable as error:
            raise Untellable(f"field {name} of {kind.__name__}: {error}") from None


def _hints(kind: type[Any]) -> dict[str, Any]:
    try:
        hints = get_type_hints(kind, include_extras=not is_typeddict(kind))
    except Exception as error:
        raise Untellable(f"an annotation of {kind.__name__} cannot be resolved: {error}") from error
    if dataclasses.is_dataclass(kind):
        return {field.name: hints[field.name] for field in dataclasses.fields(kind)}
    if _is_pydantic(kind):
        return {name: hints[name] for name in _pydantic_fields(kind)}
    return {name: hint for name, hint in hints.items() if not name.startswith("_")}


def _needed(kind: Any, name: str, told: Schema) -> bool:
    """Whether an object without the field is none of that kind."""
    if is_typeddict(kind):
        return name in kind.__required_keys__ and not told.get("nullable")
    if told.get("nullable"):
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


def _one_of(values: Iterable[Any]) -> Schema:
    values = list(values)
    kinds = {cast("type[Any]", type(value)) for value in values}
    told = dict(_SIMPLE.get(kinds.pop(), {})) if len(kinds) == 1 else {}
    return {**told, "enum": values}
