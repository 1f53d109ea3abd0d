"""A prediction's outputs, from what user code gave to JSON."""

import dataclasses
import datetime
import io
import os
import pathlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from enum import Enum
from math import isfinite
from typing import Any, Final, Protocol, cast

from msgspec import Struct, json, msgpack, to_builtins

from ..cog.files import URLPath
from ..cog.secret import Secret
from .file_names import safe

_PLAIN: Final = frozenset({bool, type(None)})
_DEEPEST: Final = 100
_LARGEST: Final = 1 << 63
_NAMELESS: Final = "output"
_JSON_KEYS: Final = {None: "null", True: "true", False: "false"}


class BadOutput(ValueError):
    """User code gave what cannot be sent; the message says where in the output."""


class Value(Struct, frozen=True):
    json: bytes
    files: list[str]
    """Absolute paths; each stands in `json` as `file:<path>`."""


class Keeping(Protocol):
    """Puts files of an output where they stay as they are until they are taken away."""

    def keep(self, path: str) -> str: ...
    def write(self, name: str, content: bytes) -> str: ...
    def drop(self, paths: list[str]) -> None: ...


def encode(output: Any, keeping: Keeping) -> Value:
    kept = _Kept(keeping)
    try:
        return Value(json.encode(_plain(output, kept, "output", 0)), list(kept.files))
    except BaseException:
        keeping.drop(kept.files)
        raise


class _Kept:
    """The files of one output."""

    def __init__(self, keeping: Keeping | None) -> None:
        self._keeping = keeping
        self._seen: dict[str, str] = {}
        self.files: list[str] = []

    def path(self, path: str, where: str) -> str:
        if not os.path.isfile(path):
            raise BadOutput(f"{where}: the file {os.path.basename(path)!r} does not exist")
        if path not in self._seen:
            self._seen[path] = self._put(where, lambda keeping: keeping.keep(path))
        return f"file:{self._seen[path]}"

    def content(self, name: str, content: bytes, where: str) -> str:
        return f"file:{self._put(where, lambda keeping: keeping.write(name, content))}"

    def _put(self, where: str, put: Callable[[Keeping], str]) -> str:
        if self._keeping is None:
            raise BadOutput(f"{where}: a file cannot stand here")
        try:
            path = put(self._keeping)
        except OSError as error:
            raise BadOutput(f"{where}: the file cannot be kept: {error.strerror}") from None
        self.files.append(path)
        return path


def plain(value: object, where: str) -> object:
    """The same in values that a frame can hold; raises what stands in the way."""
    return msgpack.decode(msgpack.encode(_plain(value, _Kept(None), where, 0)))


def clean(text: str) -> str:
    """Without what neither JSON nor a database can hold."""
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _plain(value: Any, files: _Kept, where: str, depth: int) -> Any:
    kind = cast("type[object]", type(value))
    if kind is str:
        return clean(value)
    if kind in _PLAIN:
        return value
    if kind is float:
        return _number(value, where)
    if kind is int:
        return _whole(value, where)
    if depth > _DEEPEST:
        raise BadOutput(f"{where}: the output is nested more than {_DEEPEST} deep, or contains itself")

    def inner(item: Any, key: Any) -> Any:
        return _plain(item, files, f"{where}[{key!r}]", depth + 1)

    match value:
        case str():
            return clean(value.value if isinstance(value, Enum) else str(value))
        case Enum():
            return _plain(value.value, files, where, depth + 1)
        case int():
            return _whole(int(value), where)
        case float():
            return _number(float(value), where)
        case Mapping():
            return {_key(key): inner(item, key) for key, item in cast("Mapping[Any, Any]", value).items()}
        case list() | tuple() | set() | frozenset():
            return _many(cast("Iterable[Any]", value), inner)
        case bytes() | bytearray() | memoryview():
            return files.content(f"{_NAMELESS}.bin", bytes(cast("bytes", value)), where)
        case URLPath():
            return files.path(os.path.abspath(value.convert()), where)
        case pathlib.PurePath():
            return files.path(os.path.abspath(value), where)
        case _ if isinstance(value, io.IOBase) or (hasattr(value, "read") and hasattr(value, "close")):
            return _read(value, files, where)
        case _:
            return _other(value, inner, where, lambda made: _plain(made, files, where, depth + 1))


def _many(values: Iterable[Any], inner: Callable[[Any, Any], Any]) -> list[Any]:
    items = list(values)
    kinds = set(map(type, items))
    # Embeddings and tokens: a call per number would cost more than the rest of the way.
    if kinds == {float} and all(map(isfinite, items)):
        return items
    if kinds == {int} and min(items) >= -_LARGEST and max(items) < _LARGEST:
        return items
    return [inner(item, index) for index, item in enumerate(items)]


def _other(value: Any, inner: Callable[[Any, Any], Any], where: str, again: Callable[[Any], Any]) -> Any:
    kind = cast("type[Any]", type(value))
    if isinstance(value, type):
        raise BadOutput(f"{where}: the class {value.__qualname__} cannot be sent as JSON; make an object of it")
    if isinstance(value, Secret):
        return str(value)
    for method in ("model_dump", "dict"):  # pydantic, of either kind
        if callable(made := getattr(value, method, None)):
            return again(made())
    if dataclasses.is_dataclass(kind):
        return {field.name: inner(getattr(value, field.name), field.name) for field in dataclasses.fields(kind)}
    if callable(made := getattr(value, "tolist", None)):  # numpy and torch
        return again(made())
    if isinstance(value, os.PathLike):
        return again(pathlib.Path(os.fsdecode(cast("os.PathLike[str]", value))))
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, Iterator | Collection):
        return again(list(cast("Iterable[Any]", value)))
    try:
        return again(to_builtins(value))  # UUIDs, decimals, structs
    except TypeError:
        raise BadOutput(f"{where}: a {kind.__qualname__} cannot be sent as JSON") from None


def _whole(value: int, where: str) -> float:
    """What 64 bits do not hold goes as a float, as in most readers of JSON."""
    if -_LARGEST <= value < _LARGEST:
        return value
    try:
        return float(value)
    except OverflowError:
        raise BadOutput(f"{where}: the number is too large for JSON; return it as text") from None


def _number(value: float, where: str) -> float:
    if not isfinite(value):
        raise BadOutput(f"{where}: JSON has no {value}")
    return value


def _key(key: Any) -> str:
    if isinstance(key, Enum):
        key = key.value
    return clean(
        key if isinstance(key, str) else _JSON_KEYS[key] if key is None or key is True or key is False else str(key)
    )


def _read(file: Any, files: _Kept, where: str) -> str:
    """An open file; one that is only in memory is written out."""
    name = getattr(file, "name", None)
    if isinstance(name, str) and os.path.isfile(name):
        if not getattr(file, "closed", False) and file.writable():
            file.flush()
        return files.path(os.path.abspath(name), where)
    if getattr(file, "seekable", bool)():
        file.seek(0)
    content = file.read()
    known = safe(os.path.basename(name)) if isinstance(name, str) and name else _NAMELESS
    return files.content(known, content.encode() if isinstance(content, str) else content, where)
