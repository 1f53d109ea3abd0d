"""Batch keys: jobs share a batch only if they are equal in the inputs that their model names."""

from collections.abc import Hashable, Mapping
from typing import Any, Final, cast

from msgspec import DecodeError, Raw, json

MISSING: Final = object()
"""Stands for a missing input; no JSON value equals it."""

_decode = json.Decoder(dict[str, Raw]).decode


class BatchKeys:
    """Computes the batch keys of jobs.

    `batch_by` has the inputs that have to be equal, each with the JSON of its default; empty if it has none.
    """

    def __init__(self, batch_by: Mapping[str, bytes]) -> None:
        self._defaults = {name: _parse(default) if default else MISSING for name, default in batch_by.items()}

    def key_of(self, input: bytes) -> Hashable:
        """Return the batch key of a job with this input.

        Inputs that are no JSON objects share one: their worker refuses them.
        """
        if not self._defaults:
            return None
        try:
            values = _decode(input)
            return tuple(
                _parse(values[name]) if name in values else default for name, default in self._defaults.items()
            )
        except (DecodeError, UnicodeDecodeError):
            return MISSING


def _parse(text: bytes | Raw) -> Hashable:
    return _hashable(json.decode(text))


def _hashable(value: Any) -> Hashable:
    """Return a key that is equal for equal JSON values: 1 equals 1.0, and neither equals true."""
    match value:
        case bool():
            return bool, value
        case list():
            return tuple(map(_hashable, cast("list[Any]", value)))
        case dict():
            return frozenset((name, _hashable(inner)) for name, inner in cast("dict[str, Any]", value).items())
        case _:
            return cast("Hashable", value)
