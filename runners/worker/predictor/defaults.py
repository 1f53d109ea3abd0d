"""The values that a predictor writes beside its parameters: whether they fit what it says of them."""

import re
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, cast, get_args, get_origin

from ..cog.input import MISSING
from ..cog.secret import Secret
from .signature import Parameter, bare, is_union
from .type_schemas import Untellable, is_file


def check(parameter: Parameter) -> None:
    """Raises `Untellable` for what no prediction could be called with."""
    field = parameter.field
    _regex(field.regex)
    for low, high, words in ((field.ge, field.le, "ge and le"), (field.min_length, field.max_length, "lengths")):
        if low is not None and high is not None and low > high:
            raise Untellable(f"no value is within its {words}: {low} is more than {high}")
    for choice in field.choices or ():
        if not any(_fits(choice, kind) for kind in _each(parameter.type)):
            raise Untellable(f"choices must be values of {_name(parameter.type)}, and {choice!r} is none")
    if field.default is MISSING or field.default is None:
        return
    if not _fits(field.default, parameter.type):
        raise Untellable(f"the default {field.default!r} is no value of {_name(parameter.type)}")
    for value in _values(field.default):
        _allowed(parameter, value)


def json_of(value: Any) -> Any:
    """As it stands in a schema."""
    match value:
        case Enum():
            return value.value
        case Secret():
            return value.get_secret_value()
        case None | bool() | int() | float() | str():
            return value
        case Mapping():
            return {str(key): json_of(item) for key, item in cast("Mapping[Any, Any]", value).items()}
        case list() | tuple() | set() | frozenset():
            return [json_of(item) for item in cast("Iterable[Any]", value)]
        case _ if hasattr(value, "__fspath__"):
            return str(value)
        case _:
            raise Untellable(f"a default of type {type(value).__name__} cannot be told in a schema")


def _allowed(parameter: Parameter, value: Any) -> None:
    field = parameter.field
    said = f"the default {value!r}"
    if isinstance(value, int | float):
        if field.ge is not None and value < field.ge:
            raise Untellable(f"{said} is less than ge={field.ge}")
        if field.le is not None and value > field.le:
            raise Untellable(f"{said} is more than le={field.le}")
    if isinstance(value, str):
        if field.min_length is not None and len(value) < field.min_length:
            raise Untellable(f"{said} is shorter than min_length={field.min_length}")
        if field.max_length is not None and len(value) > field.max_length:
            raise Untellable(f"{said} is longer than max_length={field.max_length}")
        if field.regex is not None and not re.search(field.regex, value):
            raise Untellable(f"{said} does not match regex={field.regex!r}")
    if field.choices is not None and json_of(value) not in field.choices:
        raise Untellable(f"{said} is none of the choices {field.choices}")


def _values(default: Any) -> Iterable[Any]:
    return cast("Iterable[Any]", default) if isinstance(default, list | tuple | set | frozenset) else [default]


def _each(hint: Any) -> list[Any]:
    """What one choice may be, of a list as of a single value."""
    inner = [argument for argument in get_args(hint) if argument is not Ellipsis]
    return inner if is_union(hint) or (get_origin(hint) in (list, tuple, set) and inner) else [hint]


def _fits(value: Any, hint: Any) -> bool:
    hint = bare(hint)
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
    return not is_file(origin) or isinstance(value, str) or hasattr(value, "__fspath__") or hasattr(value, "read")


def _all_fit(value: Any, inner: list[Any]) -> bool:
    if not isinstance(value, list | tuple | set | frozenset):
        return False
    items = cast("Iterable[Any]", value)
    return not inner or all(any(_fits(item, kind) for kind in inner) for item in items)


def _regex(regex: str | None) -> None:
    try:
        re.compile(regex or "")
    except re.error as error:
        raise Untellable(f"regex={regex!r} is no regular expression: {error}") from None


def _name(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint).replace("typing.", "")
