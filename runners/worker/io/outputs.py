"""A prediction's outputs, from the values that user code returned to JSON."""

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
from .file_names import safe_name

_CONSTANTS: Final = frozenset({bool, type(None)})
_MAX_DEPTH: Final = 100
_INT64_BOUND: Final = 1 << 63
_DEFAULT_NAME: Final = "output"
_JSON_KEYS: Final = {None: "null", True: "true", False: "false"}


class BadOutput(ValueError):
    """User code returned a value that cannot be sent; the message says where in the output."""


class EncodedOutput(Struct, frozen=True):
    """An output as JSON, and its files."""

    json: bytes
    files: list[str]
    """Absolute paths; each stands in `json` as `file:<path>`."""


class FileSaver(Protocol):
    """Saves files of an output where they stay as they are until the agent takes them away."""

    def save(self, path: str) -> str: ...
    def write(self, name: str, content: bytes) -> str: ...
    def delete(self, paths: list[str]) -> None: ...


def encode(output: Any, saver: FileSaver) -> EncodedOutput:
    """Convert an output to JSON and save its files. Raises `BadOutput`, or what the output's own methods raise."""
    files = _FileCollector(saver)
    try:
        return EncodedOutput(json.encode(_to_plain(output, files, "output", 0)), list(files.paths))
    except BaseException:
        saver.delete(files.paths)
        raise


def to_plain(value: object, where: str) -> object:
    """Convert a value to one that a frame can hold. Raises what stands in the way."""
    return msgpack.decode(msgpack.encode(_to_plain(value, _FileCollector(None), where, 0)))


def clean_text(text: str) -> str:
    """Replace what neither JSON nor a database can hold."""
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


class _FileCollector:
    """Collects the files of one output as they are saved; each file once. Without a saver there may be none."""

    def __init__(self, saver: FileSaver | None) -> None:
        self._saver = saver
        self._references: dict[str, str] = {}
        self.paths: list[str] = []

    def add_path(self, path: str, where: str) -> str:
        if not os.path.isfile(path):
            raise BadOutput(f"{where}: the file {os.path.basename(path)!r} does not exist")
        if path not in self._references:
            self._references[path] = self._save(where, lambda saver: saver.save(path))
        return f"file:{self._references[path]}"

    def add_content(self, name: str, content: bytes, where: str) -> str:
        return f"file:{self._save(where, lambda saver: saver.write(name, content))}"

    def _save(self, where: str, save: Callable[[FileSaver], str]) -> str:
        if self._saver is None:
            raise BadOutput(f"{where}: a file is not allowed here")
        try:
            path = save(self._saver)
        except OSError as error:
            raise BadOutput(f"{where}: the file cannot be saved: {error.strerror}") from None
        self.paths.append(path)
        return path


def _to_plain(value: Any, files: _FileCollector, where: str, depth: int) -> Any:
    """Convert a value to what `json.encode` takes. `where` is its place in the output, for error messages."""
    kind = cast("type[object]", type(value))
    if kind is str:
        return clean_text(value)
    if kind in _CONSTANTS:
        return value
    if kind is float:
        return _finite(value, where)
    if kind is int:
        return _int_or_float(value, where)
    if depth > _MAX_DEPTH:
        raise BadOutput(f"{where}: the output is nested more than {_MAX_DEPTH} deep, or contains itself")

    def inner(item: Any, key: Any) -> Any:
        return _to_plain(item, files, f"{where}[{key!r}]", depth + 1)

    match value:
        case str():
            return clean_text(value.value if isinstance(value, Enum) else str(value))
        case Enum():
            return _to_plain(value.value, files, where, depth + 1)
        case int():
            return _int_or_float(int(value), where)
        case float():
            return _finite(float(value), where)
        case Mapping():
            return {_key(key): inner(item, key) for key, item in cast("Mapping[Any, Any]", value).items()}
        case list() | tuple() | set() | frozenset():
            return _plain_list(cast("Iterable[Any]", value), inner)
        case bytes() | bytearray() | memoryview():
            return files.add_content(f"{_DEFAULT_NAME}.bin", bytes(cast("bytes", value)), where)
        case URLPath():
            return files.add_path(os.path.abspath(value.convert()), where)
        case pathlib.PurePath():
            return files.add_path(os.path.abspath(value), where)
        case _ if isinstance(value, io.IOBase) or (hasattr(value, "read") and hasattr(value, "close")):
            return _save_open_file(value, files, where)
        case _:
            return _other(value, inner, where, lambda other: _to_plain(other, files, where, depth + 1))


def _plain_list(values: Iterable[Any], inner: Callable[[Any, Any], Any]) -> list[Any]:
    items = list(values)
    kinds = set(map(type, items))
    # Embeddings and tokens: a call per number would cost more than the rest of the way.
    if kinds == {float} and all(map(isfinite, items)):
        return items
    if kinds == {int} and min(items) >= -_INT64_BOUND and max(items) < _INT64_BOUND:
        return items
    return [inner(item, index) for index, item in enumerate(items)]


def _other(value: Any, inner: Callable[[Any, Any], Any], where: str, convert: Callable[[Any], Any]) -> Any:
    """Convert a value of a class that JSON does not know. `inner` converts its parts, `convert` what stands for it."""
    kind = cast("type[Any]", type(value))
    if isinstance(value, type):
        raise BadOutput(f"{where}: the class {value.__qualname__} cannot be sent as JSON; make an object of it")
    if isinstance(value, Secret):
        return str(value)
    for method in ("model_dump", "dict"):  # pydantic, of either kind
        if callable(dump := getattr(value, method, None)):
            return convert(dump())
    if dataclasses.is_dataclass(kind):
        return {field.name: inner(getattr(value, field.name), field.name) for field in dataclasses.fields(kind)}
    if callable(tolist := getattr(value, "tolist", None)):  # numpy and torch
        return convert(tolist())
    if isinstance(value, os.PathLike):
        return convert(pathlib.Path(os.fsdecode(cast("os.PathLike[str]", value))))
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, Iterator | Collection):
        return convert(list(cast("Iterable[Any]", value)))
    try:
        return convert(to_builtins(value))  # UUIDs, decimals, structs
    except TypeError:
        raise BadOutput(f"{where}: a {kind.__qualname__} cannot be sent as JSON") from None


def _int_or_float(value: int, where: str) -> float:
    """Return an integer, or a float if 64 bits do not hold it, as most readers of JSON do."""
    if -_INT64_BOUND <= value < _INT64_BOUND:
        return value
    try:
        return float(value)
    except OverflowError:
        raise BadOutput(f"{where}: the number is too large for JSON; return it as text") from None


def _finite(value: float, where: str) -> float:
    if not isfinite(value):
        raise BadOutput(f"{where}: JSON has no {value}")
    return value


def _key(key: Any) -> str:
    if isinstance(key, Enum):
        key = key.value
    return clean_text(
        key if isinstance(key, str) else _JSON_KEYS[key] if key is None or key is True or key is False else str(key)
    )


def _save_open_file(file: Any, files: _FileCollector, where: str) -> str:
    """Save an open file. One that is only in memory is written out."""
    name = getattr(file, "name", None)
    if isinstance(name, str) and os.path.isfile(name):
        if not getattr(file, "closed", False) and file.writable():
            file.flush()
        return files.add_path(os.path.abspath(name), where)
    if getattr(file, "seekable", bool)():
        file.seek(0)
    content = file.read()
    file_name = safe_name(os.path.basename(name)) if isinstance(name, str) and name else _DEFAULT_NAME
    return files.add_content(file_name, content.encode() if isinstance(content, str) else content, where)
