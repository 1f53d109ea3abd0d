"""`Input(...)`: the description of one of a predictor's parameters."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final


class Missing:
    """The type of `MISSING`, the default of an input that has none; `None` is a value."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = Missing()


@dataclass(frozen=True)
class Field:
    """The description of one parameter."""

    default: Any = MISSING
    description: str | None = None
    ge: float | None = None
    le: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    regex: str | None = None
    choices: list[Any] | None = field(default=None)
    deprecated: bool | None = None
    accept: str | None = None


FieldInfo = Field
"""The name that predictors import `Field` by."""


# Upper case, and `Any`, because it stands where a parameter's default stands: `text: str = Input(...)`.
def Input(  # noqa: N802
    default: Any = MISSING,
    *,
    default_factory: Any = None,
    description: str | None = None,
    ge: float | None = None,
    le: float | None = None,
    min_length: int | None = None,
    max_length: int | None = None,
    regex: str | None = None,
    choices: Iterable[Any] | None = None,
    deprecated: bool | None = None,
    accept: str | None = None,
) -> Any:
    """Describe an input. It is required without a default, or if that is `...`."""
    if default_factory is not None:
        raise TypeError("Input() takes no default_factory: write the value as default=..., or make it inside predict")
    return Field(
        default=MISSING if default is ... else default,
        description=description,
        ge=ge,
        le=le,
        min_length=min_length,
        max_length=max_length,
        regex=regex,
        choices=None if choices is None else list(choices),
        deprecated=deprecated,
        accept=accept,
    )
