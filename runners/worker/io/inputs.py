"""A prediction's inputs, from JSON to what `predict` is called with."""

import io
import os
import pathlib
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any, Final, cast, get_args, get_origin
from urllib.parse import urlsplit

from msgspec import DecodeError, Struct, json

from ..cog.files import File, Path, URLFile, URLPath
from ..cog.input import MISSING
from ..cog.secret import Secret
from ..predictor.signature import Parameter, Signature, bare, is_union
from .data_uris import NotData, read
from .file_names import of_data, of_url
from .scratch_files import Temporaries

_AT_ONCE: Final = 8
_WEB: Final = ("http", "https")

_decode = json.Decoder(dict[str, Any]).decode


class BadInput(ValueError):
    """The inputs do not fit; the message names the field."""


class Sources(Struct):
    """Where the files of one prediction come from, and where they go."""

    name: str
    """The input that is being read."""
    here: Mapping[str, str]
    """Texts that stand for files which are here already."""
    temporaries: Temporaries
    wanted: list[tuple[str, str, str]]
    """Input, address and path of what is still to be fetched."""


Convert = Callable[[Any, Sources], Any]


class Inputs:
    """Reads JSON objects as a signature wants them."""

    def __init__(self, signature: Signature, limits: str = "") -> None:
        self._limits = limits
        self._names = frozenset(parameter.name for parameter in signature.parameters)
        self._required = [p.name for p in signature.parameters if p.required]
        self._defaults = {p.name: _default(p) for p in signature.parameters if not p.required}
        self._mutable = {name for name, default in self._defaults.items() if isinstance(default, list | dict | set)}
        self._converts = {p.name: convert for p in signature.parameters if (convert := _convert(p.type))}

    @property
    def quick(self) -> bool:
        """Nothing is ever fetched for them."""
        return not self._converts

    def read(self, text: bytes, temporaries: Temporaries, here: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Raises `BadInput`. Files are fetched; `temporaries` owns them. Inputs that the model lacks are left out."""
        given = {name: value for name, value in self._decode(text).items() if name in self._names}
        for name in self._required:
            if name not in given:
                raise BadInput(f"{name}: this input is required, and is missing")
        values = {**self._defaults, **given}
        for name in self._mutable - given.keys():
            values[name] = deepcopy(values[name])
        if self._converts or here:
            self._place(values, Sources("", here or {}, temporaries, []))
        return values

    def _place(self, values: dict[str, Any], sources: Sources) -> None:
        for name, value in values.items():
            if value is not None:
                sources.name = name
                values[name] = self._converts.get(name, _plain)(value, sources)
        if sources.wanted:
            _fetch(sources, self._limits)
        for name, value in values.items():
            if name in self._converts:
                values[name] = _opened(value, sources.temporaries)

    def _decode(self, text: bytes) -> dict[str, Any]:
        try:
            return _decode(text)
        except DecodeError as error:
            raise BadInput(f"input: not a JSON object: {error}") from None


def _default(parameter: Parameter) -> Any:
    return None if parameter.field.default is MISSING else parameter.field.default


def _convert(hint: Any) -> Convert | None:
    """None: values of this type are passed as they came."""
    hint = bare(hint)
    if hint is Secret:
        return _secret
    if isinstance(hint, type) and get_origin(hint) is None:
        made = _maker(hint)
        return (lambda value, sources: _file(value, sources, made)) if made else None
    if is_union(hint):
        return _either([bare(variant) for variant in get_args(hint)])
    inner = next((convert for argument in get_args(hint) if (convert := _convert(argument))), None)
    return _each(inner) if inner is not None and get_origin(hint) is not dict else None


def _each(convert: Convert) -> Convert:
    def each(value: Any, sources: Sources) -> Any:
        if not isinstance(value, list):
            return value
        return [None if item is None else convert(item, sources) for item in cast("list[Any]", value)]

    return each


def _either(variants: list[Any]) -> Convert | None:
    """Of a union with a file or a secret in it: a list for a list, a file for an address, else what came."""
    many = next((convert for variant in variants if get_args(variant) and (convert := _convert(variant))), None)
    single = next((convert for variant in variants if not get_args(variant) and (convert := _convert(variant))), None)
    texts = str in variants

    def either(value: Any, sources: Sources) -> Any:
        if isinstance(value, list):
            return many(cast("list[Any]", value), sources) if many else cast("list[Any]", value)
        if single is None or not isinstance(value, str) or (texts and not _is_file(value, sources)):
            return value
        return single(value, sources)

    return either if many or single else None


class _Waiting(Struct, frozen=True):
    """A file that can be opened once everything is here."""

    path: str
    url: str | None


def _maker(kind: type[Any]) -> Callable[[str, str], Any] | None:
    """What a type makes of a path and the address that it came from."""
    if issubclass(kind, URLPath):
        return _url_path
    if issubclass(kind, URLFile):
        return lambda path, url: _Waiting(path, url)
    if issubclass(kind, File) or kind in (io.IOBase, io.RawIOBase, io.BufferedIOBase, io.BufferedReader):
        return lambda path, _: _Waiting(path, None)
    if issubclass(kind, pathlib.PurePath) or kind is os.PathLike:
        return lambda path, _: Path(path)
    return None


def _url_path(path: str, url: str) -> URLPath:
    made = URLPath(source=url, filename=os.path.basename(path), fileobj=None)
    made._made = Path(path)  # pyright: ignore[reportPrivateUsage]  it has been fetched already
    return made


def _opened(value: Any, temporaries: Temporaries) -> Any:
    if isinstance(value, list):
        return [_opened(item, temporaries) for item in cast("list[Any]", value)]
    if not isinstance(value, _Waiting):
        return value
    file = temporaries.open(value.path)
    web = value.url is not None and urlsplit(value.url).scheme.lower() in _WEB
    return URLFile(value.url or "", opened=file) if web else file


def _secret(value: Any, _: Sources) -> Any:
    return value if isinstance(value, Secret) else Secret(value)


def _plain(value: Any, sources: Sources) -> Any:
    """A text that stands for a file which is here is its path, wherever it is."""
    match value:
        case str():
            return sources.here.get(value, value)
        case list():
            return [_plain(item, sources) for item in cast("list[Any]", value)]
        case dict():
            return {key: _plain(item, sources) for key, item in cast("dict[str, Any]", value).items()}
        case _:
            return value


def _is_file(text: str, sources: Sources) -> bool:
    return text in sources.here or text.partition(":")[0].lower() in (*_WEB, "data")


def _file(value: Any, sources: Sources, made: Callable[[str, str], Any]) -> Any:
    """An address becomes a local file, later; a data: URI at once."""
    name = sources.name
    if isinstance(value, os.PathLike | io.IOBase):  # a default
        return cast("Any", value)
    if not isinstance(value, str):
        raise BadInput(f"{name}: a file is given as a URL or a data: URI")
    if (path := sources.here.get(value)) is not None:
        return made(path, value)
    match value.partition(":")[0].lower() if ":" in value else "":
        case "data":
            return made(_from_data(name, value, sources.temporaries), value)
        case "http" | "https":
            path = sources.temporaries.place(_named(name, value))
            sources.wanted.append((name, value, path))
            return made(path, value)
        case scheme:
            raise BadInput(f"{name}: {scheme or 'a bare path'} is not allowed: give an http(s) URL or a data: URI")


def _named(name: str, url: str) -> str:
    try:
        return of_url(url)
    except ValueError as error:
        raise BadInput(f"{name}: the URL cannot be read: {error}") from None


def _from_data(name: str, uri: str, temporaries: Temporaries) -> str:
    try:
        media, content = read(uri)
    except NotData as error:
        raise BadInput(f"{name}: {error}") from None
    path = temporaries.place(of_data(media))
    with open(path, "xb") as file:
        file.write(content)
    return path


def _fetch(sources: Sources, limits: str) -> None:
    # Bring http, ssl, email and logging with them, which most predictors never need.
    from concurrent.futures import ThreadPoolExecutor

    from .download import Unfetched, fetch
    from .download import limits as limits_of

    def one(name: str, url: str, path: str) -> None:
        try:
            fetch(url, path, limits_of(limits), lambda: sources.temporaries.over)
        except Unfetched as error:
            raise BadInput(f"{name}: the file cannot be fetched: {error}") from None

    if len(sources.wanted) == 1:
        return one(*sources.wanted[0])
    pool = ThreadPoolExecutor(min(_AT_ONCE, len(sources.wanted)), thread_name_prefix="inputs")
    try:
        for fetched in [pool.submit(one, *wanted) for wanted in sources.wanted]:
            fetched.result()
    finally:
        # Whoever was stopped does not wait for the others; they notice that it is over.
        pool.shutdown(wait=False, cancel_futures=True)
    return None
