"""Which jobs may share a batch: those whose inputs are equal where their model says that they must be."""

from collections.abc import Hashable, Mapping
from typing import Any, Final, cast

from msgspec import DecodeError, Raw, json

NOTHING: Final = object()
"""No JSON value equals it."""

_decode = json.Decoder(dict[str, Raw]).decode


class Groups:
    """`by` names the inputs, and gives the JSON of what each is when it is left out; empty where that is nothing."""

    def __init__(self, by: Mapping[str, bytes]) -> None:
        self._left_out = {name: _value(default) if default else NOTHING for name, default in by.items()}

    def of(self, input: bytes) -> Hashable:
        """The group of a job with this input, a JSON object. What is none may share a batch: its worker refuses it."""
        if not self._left_out:
            return None
        try:
            given = _decode(input)
            return tuple(_value(given[name]) if name in given else other for name, other in self._left_out.items())
        except (DecodeError, UnicodeDecodeError):
            return NOTHING


def _value(text: bytes | Raw) -> Hashable:
    return _key(json.decode(text))


def _key(value: Any) -> Hashable:
    """Equal for equal JSON values: 1 is 1.0, and neither is true."""
    match value:
        case bool():
            return bool, value
        case list():
            return tuple(map(_key, cast("list[Any]", value)))
        case dict():
            return frozenset((name, _key(inner)) for name, inner in cast("dict[str, Any]", value).items())
        case _:
            return cast("Hashable", value)
