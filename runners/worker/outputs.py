"""A prediction's outputs, from what user code gave to JSON."""

import dataclasses
import io
import os
import pathlib
import tempfile
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from math import isfinite
from typing import Any, Final, cast

from msgspec import Struct, json, msgpack, to_builtins

_PLAIN: Final = frozenset({int, bool, type(None)})
_DEEPEST: Final = 100


class BadOutput(ValueError):
    """User code gave what cannot be sent; the message says where in the output."""


class Value(Struct, frozen=True):
    json: bytes
    files: list[str]
    """Absolute paths; each stands in `json` as `file:<path>`."""


def encode(output: Any) -> Value:
    files: list[str] = []
    return Value(json.encode(_plain(output, files, "output", 0)), files)


def plain(value: object, where: str) -> object:
    """The same in values that a frame can hold; raises what stands in the way."""
    return msgpack.decode(msgpack.encode(_plain(value, [], where, 0)))


def clean(text: str) -> str:
    """Without what neither JSON nor a database can hold."""
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _plain(value: Any, files: list[str], where: str, depth: int) -> Any:
    kind = cast("type[object]", type(value))
    if kind is str:
        return clean(value)
    if kind in _PLAIN:
        return value
    if kind is float:
        return _number(value, where)
    if depth > _DEEPEST:
        raise BadOutput(f"{where}: the output is nested more than {_DEEPEST} deep, or contains itself")

    def inner(item: Any, key: Any) -> Any:
        return _plain(item, files, f"{where}[{key!r}]", depth + 1)

    match value:
        case str():
            return clean(value.value if isinstance(value, Enum) else str(value))
        case Enum():
            return _plain(value.value, files, where, depth + 1)
        case bool() | int():
            return int(value)
        case float():
            return _number(float(value), where)
        case Mapping():
            return {_key(key): inner(item, key) for key, item in cast("Mapping[Any, Any]", value).items()}
        case list() | tuple() | set() | frozenset():
            return _many(cast("Iterable[Any]", value), inner)
        case pathlib.PurePath():
            return _path(os.path.abspath(value), files, where)
        case io.IOBase():
            return _path(_spilled(value), files, where)
        case _:
            return _other(value, inner, where, lambda made: _plain(made, files, where, depth + 1))


def _many(values: Iterable[Any], inner: Callable[[Any, Any], Any]) -> list[Any]:
    items = list(values)
    if set(map(type, items)) == {float} and all(map(isfinite, items)):
        return items  # embeddings: a call per number would cost more than the rest of the way
    return [inner(item, index) for index, item in enumerate(items)]


def _other(value: Any, inner: Callable[[Any, Any], Any], where: str, again: Callable[[Any], Any]) -> Any:
    if dataclasses.is_dataclass(kind := cast("type[Any]", type(value))):
        return {field.name: inner(getattr(value, field.name), field.name) for field in dataclasses.fields(kind)}
    for method in ("model_dump", "tolist"):  # pydantic; numpy and torch
        if callable(made := getattr(value, method, None)):
            return again(made())
    if hasattr(value, "__fspath__"):
        return again(pathlib.Path(value))
    if hasattr(value, "__next__"):
        return again(list(value))
    try:
        return to_builtins(value)  # dates, UUIDs, decimals, structs
    except TypeError:
        raise BadOutput(f"{where}: a {type(value).__qualname__} cannot be sent as JSON") from None


def _number(value: float, where: str) -> float:
    if not isfinite(value):
        raise BadOutput(f"{where}: JSON has no {value}")
    return value


def _key(key: Any) -> str:
    return clean(key if isinstance(key, str) else str(key.value if isinstance(key, Enum) else key))


def _path(path: str, files: list[str], where: str) -> str:
    if not os.path.isfile(path):
        raise BadOutput(f"{where}: the file {os.path.basename(path)!r} does not exist")
    files.append(path)
    return f"file:{path}"


def _spilled(file: Any) -> str:
    """The path of an open file; one that is only in memory is written out."""
    name = getattr(file, "name", None)
    if isinstance(name, str) and os.path.isfile(name):
        if file.writable():
            file.flush()
        return os.path.abspath(name)
    file.seek(0)
    content = file.read()
    with tempfile.NamedTemporaryFile(prefix="output-", delete=False) as spill:
        spill.write(content.encode() if isinstance(content, str) else content)
    return spill.name
