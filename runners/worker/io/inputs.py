"""A prediction's inputs, from JSON to the arguments of `predict`."""

import io
import os
import pathlib
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from typing import Any, Final, Protocol, cast, get_args, get_origin
from urllib.parse import urlsplit

from msgspec import DecodeError, Struct, json

from ..cog.files import File, Path, URLFile, URLPath
from ..cog.input import MISSING, Field
from ..cog.secret import Secret
from ..type_hints import is_union, strip_annotated
from . import data_uris
from .file_names import name_from_media_type, name_from_url
from .scratch_files import ScratchFiles

_MAX_DOWNLOADS: Final = 8  # at a time
_WEB_SCHEMES: Final = ("http", "https")

_decode_object = json.Decoder(dict[str, Any]).decode


class BadInput(ValueError):
    """The inputs do not fit; the message names the field."""


class InputParameter(Protocol):
    """A parameter of `predict`, as far as reading its input needs it."""

    @property
    def name(self) -> str: ...
    @property
    def type(self) -> Any: ...
    @property
    def field(self) -> Field: ...
    @property
    def required(self) -> bool: ...


class InputFiles(Struct):
    """The files of one prediction's inputs while they are read: where they come from, and where they go."""

    input_name: str
    """The input that is being read."""
    local: Mapping[str, str]
    """Texts that stand for files which are on this host already, and their paths."""
    scratch: ScratchFiles
    downloads: list[tuple[str, str, str]]
    """The input, the address and the path of each file that is still to be downloaded."""


Convert = Callable[[Any, InputFiles], Any]


class InputReader:
    """Reads the JSON of inputs as the parameters of `predict` want them.

    `Responder` owns one for its predictor. `limits` is the JSON of `download.DownloadLimits`.
    """

    def __init__(self, parameters: Iterable[InputParameter], limits: str = "") -> None:
        parameters = list(parameters)
        self._limits = limits
        self._names = frozenset(parameter.name for parameter in parameters)
        self._required = [p.name for p in parameters if p.required]
        self._defaults = {p.name: _default(p) for p in parameters if not p.required}
        self._mutable = {name for name, default in self._defaults.items() if isinstance(default, list | dict | set)}
        self._converters = {p.name: converter for p in parameters if (converter := _converter(p.type))}

    @property
    def never_downloads(self) -> bool:
        """Whether reading never waits for the network."""
        return not self._converters

    def read(self, text: bytes, scratch: ScratchFiles, local: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return the arguments of `predict`. Raises `BadInput`.

        Files are downloaded; `scratch` owns them. Inputs that the model lacks are left out.
        """
        inputs = {name: value for name, value in self._decode(text).items() if name in self._names}
        for name in self._required:
            if name not in inputs:
                raise BadInput(f"{name}: this input is required, but missing")
        values = {**self._defaults, **inputs}
        for name in self._mutable - inputs.keys():
            values[name] = deepcopy(values[name])
        if self._converters or local:
            self._convert(values, InputFiles("", local or {}, scratch, []))
        return values

    def _convert(self, values: dict[str, Any], files: InputFiles) -> None:
        for name, value in values.items():
            if value is not None:
                files.input_name = name
                values[name] = self._converters.get(name, _replace_local_files)(value, files)
        if files.downloads:
            _download_all(files, self._limits)
        for name, value in values.items():
            if name in self._converters:
                values[name] = _open_files(value, files.scratch)

    def _decode(self, text: bytes) -> dict[str, Any]:
        try:
            return _decode_object(text)
        except DecodeError as error:
            raise BadInput(f"input: not a JSON object: {error}") from None


def _default(parameter: InputParameter) -> Any:
    return None if parameter.field.default is MISSING else parameter.field.default


def _converter(hint: Any) -> Convert | None:
    """Return what converts values of a type, or None if they are passed as they came."""
    hint = strip_annotated(hint)
    if hint is Secret:
        return _to_secret
    if isinstance(hint, type) and get_origin(hint) is None:
        make = _file_factory(hint)
        return (lambda value, files: _to_file(value, files, make)) if make else None
    if is_union(hint):
        return _union_converter([strip_annotated(variant) for variant in get_args(hint)])
    inner = next((converter for argument in get_args(hint) if (converter := _converter(argument))), None)
    return _list_converter(inner) if inner is not None and get_origin(hint) is not dict else None


def _list_converter(convert: Convert) -> Convert:
    def convert_list(value: Any, files: InputFiles) -> Any:
        if not isinstance(value, list):
            return value
        return [None if item is None else convert(item, files) for item in cast("list[Any]", value)]

    return convert_list


def _union_converter(variants: list[Any]) -> Convert | None:
    """Return what converts a union with a file or a secret in it: a list to a list, an address to a file."""
    many = next((convert for variant in variants if get_args(variant) and (convert := _converter(variant))), None)
    single = next((convert for variant in variants if not get_args(variant) and (convert := _converter(variant))), None)
    allows_text = str in variants

    def convert_union(value: Any, files: InputFiles) -> Any:
        if isinstance(value, list):
            return many(cast("list[Any]", value), files) if many else cast("list[Any]", value)
        if single is None or not isinstance(value, str) or (allows_text and not _is_file_reference(value, files)):
            return value
        return single(value, files)

    return convert_union if many or single else None


class _UnopenedFile(Struct, frozen=True):
    """A file that can be opened once everything is on this host."""

    path: str
    url: str | None


def _file_factory(kind: type[Any]) -> Callable[[str, str], Any] | None:
    """Return what makes a value of the type out of a path and the address that it came from; None if it is no file."""
    if issubclass(kind, URLPath):
        return _url_path
    if issubclass(kind, URLFile):
        return lambda path, url: _UnopenedFile(path, url)
    if issubclass(kind, File) or kind in (io.IOBase, io.RawIOBase, io.BufferedIOBase, io.BufferedReader):
        return lambda path, _: _UnopenedFile(path, None)
    if issubclass(kind, pathlib.PurePath) or kind is os.PathLike:
        return lambda path, _: Path(path)
    return None


def _url_path(path: str, url: str) -> URLPath:
    result = URLPath(source=url, filename=os.path.basename(path), fileobj=None)
    result._converted = Path(path)  # pyright: ignore[reportPrivateUsage]  it has been downloaded already
    return result


def _open_files(value: Any, scratch: ScratchFiles) -> Any:
    if isinstance(value, list):
        return [_open_files(item, scratch) for item in cast("list[Any]", value)]
    if not isinstance(value, _UnopenedFile):
        return value
    file = scratch.open(value.path)
    is_web = value.url is not None and urlsplit(value.url).scheme.lower() in _WEB_SCHEMES
    return URLFile(value.url or "", opened=file) if is_web else file


def _to_secret(value: Any, _: InputFiles) -> Any:
    return value if isinstance(value, Secret) else Secret(value)


def _replace_local_files(value: Any, files: InputFiles) -> Any:
    """Replace texts that stand for files on this host by their paths, at any depth."""
    match value:
        case str():
            return files.local.get(value, value)
        case list():
            return [_replace_local_files(item, files) for item in cast("list[Any]", value)]
        case dict():
            return {key: _replace_local_files(item, files) for key, item in cast("dict[str, Any]", value).items()}
        case _:
            return value


def _is_file_reference(text: str, files: InputFiles) -> bool:
    return text in files.local or text.partition(":")[0].lower() in (*_WEB_SCHEMES, "data")


def _to_file(value: Any, files: InputFiles, make: Callable[[str, str], Any]) -> Any:
    """Make a file of an address, which is downloaded later, or of a data: URI, which is written at once."""
    name = files.input_name
    if isinstance(value, os.PathLike | io.IOBase):  # a default
        return cast("Any", value)
    if not isinstance(value, str):
        raise BadInput(f"{name}: a file is given as a URL or a data: URI")
    if (path := files.local.get(value)) is not None:
        return make(path, value)
    match value.partition(":")[0].lower() if ":" in value else "":
        case "data":
            return make(_write_data_uri(name, value, files.scratch), value)
        case "http" | "https":
            path = files.scratch.new_input_path(_file_name(name, value))
            files.downloads.append((name, value, path))
            return make(path, value)
        case scheme:
            raise BadInput(f"{name}: {scheme or 'a bare path'} is not allowed: give an http(s) URL or a data: URI")


def _file_name(name: str, url: str) -> str:
    try:
        return name_from_url(url)
    except ValueError as error:
        raise BadInput(f"{name}: the URL cannot be read: {error}") from None


def _write_data_uri(name: str, uri: str, scratch: ScratchFiles) -> str:
    try:
        media_type, content = data_uris.decode(uri)
    except data_uris.InvalidDataURI as error:
        raise BadInput(f"{name}: {error}") from None
    path = scratch.new_input_path(name_from_media_type(media_type))
    with open(path, "xb") as file:
        file.write(content)
    return path


def _download_all(files: InputFiles, limits: str) -> None:
    # Bring http, ssl, email and logging with them, which most predictors never need.
    from concurrent.futures import ThreadPoolExecutor

    from .download import DownloadFailed, download, parse_limits

    def download_one(name: str, url: str, path: str) -> None:
        try:
            download(url, path, parse_limits(limits), lambda: files.scratch.is_over)
        except DownloadFailed as error:
            raise BadInput(f"{name}: the file cannot be fetched: {error}") from None

    if len(files.downloads) == 1:
        return download_one(*files.downloads[0])
    pool = ThreadPoolExecutor(min(_MAX_DOWNLOADS, len(files.downloads)), thread_name_prefix="inputs")
    try:
        for future in [pool.submit(download_one, *each) for each in files.downloads]:
            future.result()
    finally:
        # A prediction that was stopped does not wait for the others; they notice that it is over.
        pool.shutdown(wait=False, cancel_futures=True)
    return None
