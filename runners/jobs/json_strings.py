"""The strings inside a JSON value, changed one by one."""

from collections.abc import Callable
from typing import Any, Final, cast

from msgspec import json

NUL: Final = b"\\u0000"


def mapped(value: Any, change: Callable[[str], str]) -> Any:
    """The same value with every string in it, keys included, passed through `change`."""
    match value:
        case str():
            return change(value)
        case list():
            return [mapped(item, change) for item in cast("list[Any]", value)]
        case dict():
            return {change(key): mapped(item, change) for key, item in cast("dict[str, Any]", value).items()}
        case _:
            return value


def without_nul(value: bytes) -> bytes:
    """PostgreSQL takes no NUL, while JSON may carry one."""
    if b"\\" not in value or NUL not in value:  # one byte is found fifty times as fast
        return value
    return json.encode(mapped(json.decode(value), lambda text: text.replace("\0", "\ufffd")))
