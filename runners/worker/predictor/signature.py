"""A predictor's signature: the parameters and the result of its method, read from the annotations."""

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
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

from msgspec import Struct

from ..cog.input import MISSING, Field
from ..cog.iterators import AsyncConcatenateIterator, ConcatenateIterator
from ..cog.secret import Secret
from ..errors import UnusablePredictor
from ..type_hints import is_union, split_optional, strip_annotated
from .source_lines import line_of_parameter, line_of_result, unwrap

_ITERATORS: Final = (Iterator, AsyncIterator, Generator, AsyncGenerator, Iterable, AsyncIterable)
_CONCATENATED: Final = (ConcatenateIterator, AsyncConcatenateIterator)


class Unannotated:
    """The type of a parameter or result that has no annotation: anything."""


class Parameter(Struct, frozen=True):
    """A parameter of the predictor's method, that is, an input."""

    name: str
    type: Any
    """The type without `Optional`."""
    optional: bool
    field: Field
    """What is declared of it. The choices include those of a `Literal`."""

    @property
    def required(self) -> bool:
        """Whether a prediction needs the input.

        A choice of several types stays required, also where None is one of them, unless it has a default.
        """
        return self.field.default is MISSING and not (self.optional and not is_union(self.type))


class Result(Struct, frozen=True):
    """The result of the predictor's method."""

    type: Any
    """The type of one value, if there are many."""
    many: bool
    """Whether the output comes in chunks."""
    concatenated: bool
    """Whether the chunks read as one text."""
    optional: bool = False


class Signature(Struct, frozen=True):
    """The inputs and the output of a predictor."""

    parameters: tuple[Parameter, ...]
    result: Result
    function: Callable[..., Any] | None = None
    """The function it was read from. Its file is only looked into to say where something is wrong."""


def read_signature(method: Callable[..., Any]) -> Signature:
    """Read the signature of a method or function. Raises `UnusablePredictor`, naming the parameter and its line."""
    function, bound = unwrap(method)
    parameters = list(inspect.signature(function).parameters.values())[1 if bound else 0 :]
    hints = _resolve_hints(function)
    return Signature(
        tuple(_read_parameter(parameter, hints.get(parameter.name, Unannotated), function) for parameter in parameters),
        _read_result(hints.get("return", Unannotated)),
        function,
    )


def _resolve_hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Resolve the annotations one by one, so that an error names the one that it is in."""
    hints: dict[str, Any] = {}
    for name, annotation in getattr(function, "__annotations__", {}).items():
        alone = types.SimpleNamespace(__annotations__={name: annotation})
        try:
            hints.update(get_type_hints(alone, getattr(function, "__globals__", {}), include_extras=True))
        except Exception as error:
            is_result = name == "return"
            what = "the return annotation" if is_result else f"parameter {name}: its annotation"
            place = line_of_result(function) if is_result else line_of_parameter(function, name)
            raise UnusablePredictor(f"{what} cannot be resolved: {type(error).__name__}: {error}", place) from error
    return hints


def _read_parameter(parameter: inspect.Parameter, hint: Any, function: Callable[..., Any]) -> Parameter:
    name = parameter.name
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
        raise UnusablePredictor(
            f"parameter {parameter}: inputs are given by name; write a named parameter for each",
            line_of_parameter(function, name),
        )
    type_, optional = split_optional(strip_annotated(hint))
    type_, field = _with_choices(strip_annotated(type_), _as_field(parameter.default))
    if field.default is None and not optional:
        if type_ in (Secret, Unannotated):
            optional = True
        else:
            # As in Cog, this is no default: None is not a value of that type.
            field = _replace(field, default=MISSING)
    return Parameter(name, type_, optional, field)


def _with_choices(type_: Any, field: Field) -> tuple[Any, Field]:
    """Return the type and the field with its choices: those of a `Literal`, or the values of an Enum's members."""
    if get_origin(type_) is Literal:
        choices: list[Any] = list(get_args(type_))
        kinds: set[type[Any]] = {type(choice) for choice in choices}
        return kinds.pop() if len(kinds) == 1 else Any, _replace(field, choices=choices)
    if not field.choices:
        return type_, _replace(field, choices=None) if field.choices is not None else field
    choices = [choice.value if isinstance(choice, Enum) else choice for choice in field.choices]
    return type_, _replace(field, choices=choices)


def _as_field(default: Any) -> Field:
    if isinstance(default, Field):
        return default
    return Field() if default is inspect.Parameter.empty else Field(default=default)


def _replace(field: Field, **changes: Any) -> Field:
    return Field(**{**vars(field), **changes})


def _read_result(hint: Any) -> Result:
    type_, optional = split_optional(strip_annotated(hint))
    origin = get_origin(type_) or type_
    concatenated = origin in _CONCATENATED
    if not concatenated and origin not in _ITERATORS:
        return Result(strip_annotated(type_), many=False, concatenated=False, optional=optional)
    values = get_args(type_)
    each = strip_annotated(values[0]) if values else str if concatenated else Unannotated
    return Result(each, many=True, concatenated=concatenated, optional=optional)
