"""What a predictor's method takes and gives, read from its annotations."""

import inspect
import types
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
    Iterator,
)
from enum import Enum
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from msgspec import Struct

from ..cog.input import MISSING, Field
from ..cog.iterators import AsyncConcatenateIterator, ConcatenateIterator
from ..cog.opaque import OpaqueMarker
from ..cog.secret import Secret
from .source_lines import Place, beneath, of_parameter, of_result

_ITERATORS: Final = (Iterator, AsyncIterator, Generator, AsyncGenerator, Iterable, AsyncIterable)
_CONCATENATED: Final = (ConcatenateIterator, AsyncConcatenateIterator)


class Unusable(Exception):
    """The predictor cannot be run as it is written."""

    stage = "schema"

    def __init__(self, message: str, place: Place | None = None) -> None:
        super().__init__(message)
        self.place = place


class Unsaid:
    """The type of what has no annotation: anything."""


class Opaque:
    """The type of what is `Annotated[..., cog.Opaque]`: an object that nobody looks into."""


class Parameter(Struct, frozen=True):
    name: str
    type: Any
    """Without `Optional`."""
    optional: bool
    field: Field
    """Its choices include those of a `Literal`."""

    @property
    def required(self) -> bool:
        """A choice of several types stays required, also where None is one of them, unless it has a default."""
        return self.field.default is MISSING and not (self.optional and not is_union(self.type))


class Result(Struct, frozen=True):
    type: Any
    """Of one value, where there are many."""
    many: bool
    concatenated: bool
    optional: bool = False


class Signature(Struct, frozen=True):
    parameters: tuple[Parameter, ...]
    result: Result
    function: Callable[..., Any] | None = None
    """What it was read from; its file is only looked into to say where something is wrong."""


def read(method: Callable[..., Any]) -> Signature:
    """Raises `Unusable`, naming the parameter and its place."""
    function, bound = beneath(method)
    parameters = list(inspect.signature(function).parameters.values())[1 if bound else 0 :]
    hints = _hints(function)
    return Signature(
        tuple(_parameter(parameter, hints.get(parameter.name, Unsaid), function) for parameter in parameters),
        _result(hints.get("return", Unsaid)),
        function,
    )


def is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, types.UnionType)


def without_none(hint: Any) -> tuple[Any, bool]:
    if not is_union(hint):
        return hint, False
    variants = get_args(hint)
    rest = tuple(variant for variant in variants if variant is not type(None))
    if len(rest) == len(variants) or not rest:
        return hint, False
    return (rest[0], True) if len(rest) == 1 else (Union[rest], True)  # noqa: UP007


def bare(hint: Any) -> Any:
    """Without `Annotated`."""
    if get_origin(hint) is not Annotated:
        return hint
    inner, *said = get_args(hint)
    return _opaque(inner) if any(isinstance(word, OpaqueMarker) for word in said) else bare(inner)


def _opaque(hint: Any) -> Any:
    """Nobody looks inside, but a list and None stay what they are."""
    rest, optional = without_none(bare(hint))
    found: Any = list[Opaque] if (get_origin(rest) or rest) is list else Opaque
    return found | None if optional else found


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """One by one, so that an error can be told of the one that it is in."""
    hints: dict[str, Any] = {}
    for name, annotation in getattr(function, "__annotations__", {}).items():
        alone = types.SimpleNamespace(__annotations__={name: annotation})
        try:
            hints.update(get_type_hints(alone, getattr(function, "__globals__", {}), include_extras=True))
        except Exception as error:
            returned = name == "return"
            what = "the return annotation" if returned else f"parameter {name}: its annotation"
            place = of_result(function) if returned else of_parameter(function, name)
            raise Unusable(f"{what} cannot be resolved: {type(error).__name__}: {error}", place) from error
    return hints


def _parameter(parameter: inspect.Parameter, hint: Any, function: Callable[..., Any]) -> Parameter:
    name = parameter.name
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
        raise Unusable(
            f"parameter {parameter}: inputs are given by name; write a named parameter for each",
            of_parameter(function, name),
        )
    type_, optional = without_none(bare(hint))
    type_, field = _chosen(bare(type_), _field(parameter.default))
    if field.default is None and not optional:
        if type_ in (Secret, Unsaid):
            optional = True
        else:
            field = _with(field, default=MISSING)  # as Cog has it: no default, since None is no value of that type
    return Parameter(name, type_, optional, field)


def _chosen(type_: Any, field: Field) -> tuple[Any, Field]:
    """A `Literal` is a choice. Members of an Enum are chosen by their values."""
    if get_origin(type_) is Literal:
        choices: list[Any] = list(get_args(type_))
        kinds: set[type[Any]] = {type(choice) for choice in choices}
        return kinds.pop() if len(kinds) == 1 else Any, _with(field, choices=choices)
    if not field.choices:
        return type_, _with(field, choices=None) if field.choices is not None else field
    choices = [choice.value if isinstance(choice, Enum) else choice for choice in field.choices]
    return type_, _with(field, choices=choices)


def _field(default: Any) -> Field:
    if isinstance(default, Field):
        return default
    return Field() if default is inspect.Parameter.empty else Field(default=default)


def _with(field: Field, **changes: Any) -> Field:
    return Field(**{**vars(field), **changes})


def _result(hint: Any) -> Result:
    type_, optional = without_none(bare(hint))
    origin = get_origin(type_) or type_
    concatenated = origin in _CONCATENATED
    if not concatenated and origin not in _ITERATORS:
        return Result(bare(type_), many=False, concatenated=False, optional=optional)
    values = get_args(type_)
    each = bare(values[0]) if values else str if concatenated else Unsaid
    return Result(each, many=True, concatenated=concatenated, optional=optional)
