"""Changes to the strings inside of a JSON value."""

from collections.abc import Callable
from typing import Any, Final, cast

from msgspec import json

NUL: Final = b"\\u0000"


def map_strings(value: Any, change: Callable[[str], str]) -> Any:
    """Return the value with `change` applied to every string in it, keys included."""
    match value:
        case str():
            return change(value)
        case list():
            return [map_strings(item, change) for item in cast("list[Any]", value)]
        case dict():
            return {change(key): map_strings(item, change) for key, item in cast("dict[str, Any]", value).items()}
        case _:
            return value


def replace_nul(value: bytes) -> bytes:
    """Replace NUL characters by U+FFFD in a JSON text, as PostgreSQL stores none."""
    if b"\\" not in value or NUL not in value:  # searching for one byte is fifty times as fast
        return value
    return json.encode(map_strings(json.decode(value), lambda text: text.replace("\0", "\ufffd")))
