"""Taking type hints apart: unions, `Optional` and `Annotated`."""

import types
from typing import Annotated, Any, Union, get_args, get_origin

from .cog.opaque import OpaqueMarker


class Opaque:
    """The type of a parameter annotated `Annotated[..., cog.Opaque]`: an object that nobody looks into."""


def is_union(hint: Any) -> bool:
    """Return whether the hint is a union, in either spelling."""
    return get_origin(hint) in (Union, types.UnionType)


def split_optional(hint: Any) -> tuple[Any, bool]:
    """Return the hint without `None`, and whether it allowed `None`."""
    if not is_union(hint):
        return hint, False
    variants = get_args(hint)
    rest = tuple(variant for variant in variants if variant is not type(None))
    if len(rest) == len(variants) or not rest:
        return hint, False
    return (rest[0], True) if len(rest) == 1 else (Union[rest], True)  # noqa: UP007


def strip_annotated(hint: Any) -> Any:
    """Return the hint without `Annotated`, or `Opaque` where that is among the annotations."""
    if get_origin(hint) is not Annotated:
        return hint
    inner, *notes = get_args(hint)
    return _opaque(inner) if any(isinstance(note, OpaqueMarker) for note in notes) else strip_annotated(inner)


def _opaque(hint: Any) -> Any:
    """Replace a type by `Opaque`; a list stays a list, and `None` stays allowed."""
    rest, optional = split_optional(strip_annotated(hint))
    opaque: Any = list[Opaque] if (get_origin(rest) or rest) is list else Opaque
    return opaque | None if optional else opaque
