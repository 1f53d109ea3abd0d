"""Checks of a predictor's defaults, choices and ranges against the types of its parameters."""

import re
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, cast, get_args, get_origin

from ..cog.input import MISSING
from ..cog.secret import Secret
from ..type_hints import is_union, strip_annotated
from .signature import Parameter
from .type_schemas import SchemaError, is_file_type


def check_parameter(parameter: Parameter) -> None:
    """Check that a prediction can be called with what is declared. Raises `SchemaError`."""
    field = parameter.field
    _check_regex(field.regex)
    for low, high, limits in ((field.ge, field.le, "ge and le"), (field.min_length, field.max_length, "lengths")):
        if low is not None and high is not None and low > high:
            raise SchemaError(f"no value can satisfy its {limits}: {low} is more than {high}")
    for choice in field.choices or ():
        if not any(_fits(choice, kind) for kind in _choice_types(parameter.type)):
            raise SchemaError(f"choices must be values of {_type_name(parameter.type)}, and {choice!r} is not")
    if field.default is MISSING or field.default is None:
        return
    if not _fits(field.default, parameter.type):
        raise SchemaError(f"the default {field.default!r} is not a value of {_type_name(parameter.type)}")
    for value in _values(field.default):
        _check_value(parameter, value)


def to_json(value: Any) -> Any:
    """Return a default as it stands in a schema. Raises `SchemaError`."""
    match value:
        case Enum():
            return value.value
        case Secret():
            return value.get_secret_value()
        case None | bool() | int() | float() | str():
            return value
        case Mapping():
            return {str(key): to_json(item) for key, item in cast("Mapping[Any, Any]", value).items()}
        case list() | tuple() | set() | frozenset():
            return [to_json(item) for item in cast("Iterable[Any]", value)]
        case _ if hasattr(value, "__fspath__"):
            return str(value)
        case _:
            raise SchemaError(f"a default of type {type(value).__name__} cannot be written in a schema")


def _check_value(parameter: Parameter, value: Any) -> None:
    field = parameter.field
    subject = f"the default {value!r}"
    if isinstance(value, int | float):
        if field.ge is not None and value < field.ge:
            raise SchemaError(f"{subject} is less than ge={field.ge}")
        if field.le is not None and value > field.le:
            raise SchemaError(f"{subject} is more than le={field.le}")
    if isinstance(value, str):
        if field.min_length is not None and len(value) < field.min_length:
            raise SchemaError(f"{subject} is shorter than min_length={field.min_length}")
        if field.max_length is not None and len(value) > field.max_length:
            raise SchemaError(f"{subject} is longer than max_length={field.max_length}")
        if field.regex is not None and not re.search(field.regex, value):
            raise SchemaError(f"{subject} does not match regex={field.regex!r}")
    if field.choices is not None and to_json(value) not in field.choices:
        raise SchemaError(f"{subject} is not one of the choices {field.choices}")


def _values(default: Any) -> Iterable[Any]:
    return cast("Iterable[Any]", default) if isinstance(default, list | tuple | set | frozenset) else [default]


def _choice_types(hint: Any) -> list[Any]:
    """Return the types that one choice may have, of a list as of a single value."""
    inner = [argument for argument in get_args(hint) if argument is not Ellipsis]
    return inner if is_union(hint) or (get_origin(hint) in (list, tuple, set) and inner) else [hint]


def _fits(value: Any, hint: Any) -> bool:
    hint = strip_annotated(hint)
    if is_union(hint):
        return any(_fits(value, variant) for variant in get_args(hint))
    if hint is None or hint is type(None):
        return value is None
    origin: Any = get_origin(hint) or hint
    if origin in (list, tuple, set, frozenset):
        return _all_fit(value, [argument for argument in get_args(hint) if argument is not Ellipsis])
    plain = value.value if isinstance(value, Enum) else value
    if origin is float:
        return isinstance(plain, int | float) and not isinstance(plain, bool)
    if origin is int:
        return (isinstance(plain, int) and not isinstance(plain, bool)) or (
            isinstance(plain, float) and plain.is_integer()
        )
    if origin in (str, bool):
        return isinstance(plain, origin)
    if origin is dict:
        return isinstance(value, Mapping)
    if origin is Secret:
        return isinstance(value, Secret | str)
    return not is_file_type(origin) or isinstance(value, str) or hasattr(value, "__fspath__") or hasattr(value, "read")


def _all_fit(value: Any, inner: list[Any]) -> bool:
    if not isinstance(value, list | tuple | set | frozenset):
        return False
    items = cast("Iterable[Any]", value)
    return not inner or all(any(_fits(item, kind) for kind in inner) for item in items)


def _check_regex(regex: str | None) -> None:
    try:
        re.compile(regex or "")
    except re.error as error:
        raise SchemaError(f"regex={regex!r} is not a valid regular expression: {error}") from None


def _type_name(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint).replace("typing.", "")
