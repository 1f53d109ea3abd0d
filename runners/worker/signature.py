"""What a predictor's method takes and gives, read from its annotations."""

import inspect
import types
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from msgspec import Struct

from .cog.input import MISSING, Field
from .cog.iterators import AsyncConcatenateIterator, ConcatenateIterator
from .cog.secret import Secret

_ITERATORS: Final = (Iterator, AsyncIterator, Generator, AsyncGenerator, ConcatenateIterator, AsyncConcatenateIterator)
_CONCATENATED: Final = (ConcatenateIterator, AsyncConcatenateIterator)


class Unusable(Exception):
    """The predictor cannot be run as it is written."""


class Parameter(Struct, frozen=True):
    name: str
    type: Any
    """Without `Optional`."""
    optional: bool
    field: Field
    """Its choices include those of a `Literal`."""

    @property
    def required(self) -> bool:
        return self.field.default is MISSING and not self.optional


class Result(Struct, frozen=True):
    type: Any
    """Of one value, where there are many."""
    many: bool
    concatenated: bool


class Signature(Struct, frozen=True):
    parameters: tuple[Parameter, ...]
    result: Result


def read(method: Callable[..., Any]) -> Signature:
    """Raises `Unusable`, naming the parameter."""
    try:
        hints = get_type_hints(method, include_extras=True)
    except Exception as error:
        raise Unusable(f"{method.__qualname__}: an annotation cannot be resolved: {error}") from error
    parameters = [
        _parameter(parameter, hints.get(name, Any))
        for name, parameter in inspect.signature(method).parameters.items()
        if name != "self"
    ]
    return Signature(tuple(parameters), _result(hints.get("return", Any)))


def _parameter(parameter: inspect.Parameter, hint: Any) -> Parameter:
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
        raise Unusable(f"parameter {parameter}: inputs are named, so it must be a named parameter")
    type_, optional = _without_none(_bare(hint))
    field = _field(parameter.default)
    if get_origin(type_) is Literal:
        choices: list[object] = list(get_args(type_))
        kinds: set[type[object]] = {type(choice) for choice in choices}
        if len(kinds) != 1:
            raise Unusable(f"parameter {parameter.name}: the values of a Literal must be of one type")
        type_, field = kinds.pop(), _with(field, choices=choices)
    if field.default is None and not optional and type_ not in (Secret, Any):
        field = _with(field, default=MISSING)  # as Cog has it: no default, since None is no value of that type
    return Parameter(parameter.name, type_, optional, field)


def _field(default: Any) -> Field:
    if isinstance(default, Field):
        return default
    return Field() if default is inspect.Parameter.empty else Field(default=default)


def _with(field: Field, **changes: Any) -> Field:
    return Field(**{**vars(field), **changes})


def _result(hint: Any) -> Result:
    bare = _bare(hint)
    origin = get_origin(bare) or bare
    if origin not in _ITERATORS:
        return Result(bare, many=False, concatenated=False)
    values = get_args(bare)
    return Result(_bare(values[0]) if values else Any, many=True, concatenated=origin in _CONCATENATED)


def _bare(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _without_none(hint: Any) -> tuple[Any, bool]:
    if get_origin(hint) not in (Union, types.UnionType):
        return hint, False
    variants = get_args(hint)
    rest = tuple(variant for variant in variants if variant is not type(None))
    if len(rest) == len(variants):
        return hint, False
    return (rest[0], True) if len(rest) == 1 else (Union[rest], True)  # noqa: UP007
