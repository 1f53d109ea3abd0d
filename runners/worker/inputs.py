"""A prediction's inputs, from JSON to what `predict` is called with."""

import base64
import binascii
import contextlib
import mimetypes
import os
import tempfile
import urllib.parse
from collections.abc import Callable
from typing import IO, Any, Final, get_args, get_origin

from msgspec import DecodeError, json

from .cog.files import File, Path
from .cog.input import MISSING
from .cog.secret import Secret
from .signature import Parameter, Signature

_TIMEOUT: Final = 10.0
_LARGEST: Final = 100_000_000
_PIECE: Final = 1 << 16

_decode = json.Decoder(dict[str, Any]).decode


class BadInput(ValueError):
    """The inputs do not fit; the message names the field."""


class Temporaries:
    """Files that live as long as a prediction."""

    def __init__(self) -> None:
        self._paths: list[str] = []

    def make(self, suffix: str) -> IO[bytes]:
        file = tempfile.NamedTemporaryFile(suffix=suffix, delete=False)  # noqa: SIM115
        self._paths.append(file.name)
        return file

    def remove(self) -> None:
        while self._paths:
            with contextlib.suppress(OSError):
                os.unlink(self._paths.pop())


Convert = Callable[[str, Any, Temporaries], Any]


class Inputs:
    """Reads JSON objects as a signature wants them."""

    def __init__(self, signature: Signature) -> None:
        self._names = frozenset(parameter.name for parameter in signature.parameters)
        self._required = [p.name for p in signature.parameters if p.required]
        self._defaults = {p.name: _default(p) for p in signature.parameters if not p.required}
        self._converts = {p.name: convert for p in signature.parameters if (convert := _convert(p.type))}

    def read(self, text: bytes, temporaries: Temporaries) -> dict[str, Any]:
        """Raises `BadInput`. Files are fetched; `temporaries` owns them. Inputs that the model lacks are left out."""
        given = {name: value for name, value in self._decode(text).items() if name in self._names}
        for name in self._required:
            if name not in given:
                raise BadInput(f"{name}: this input is required, and is missing")
        values = {**self._defaults, **given}
        for name, convert in self._converts.items():
            if (value := values[name]) is not None:
                values[name] = convert(name, value, temporaries)
        return values

    def _decode(self, text: bytes) -> dict[str, Any]:
        try:
            return _decode(text)
        except DecodeError as error:
            raise BadInput(f"input: not a JSON object: {error}") from None


def _default(parameter: Parameter) -> Any:
    return None if parameter.field.default is MISSING else parameter.field.default


def _convert(type_: Any) -> Convert | None:
    if type_ is float:
        return _float
    if type_ is Secret:
        return _secret
    if type_ is Path:
        return _file
    if type_ is File:
        return _open
    if get_origin(type_) is list and get_args(type_) and (each := _convert(get_args(type_)[0])):
        return lambda name, value, temporaries: [each(name, item, temporaries) for item in value]
    return None


def _float(_name: str, value: Any, _: Temporaries) -> Any:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _secret(_name: str, value: Any, _: Temporaries) -> Any:
    return value if isinstance(value, Secret) else Secret(value)


def _open(name: str, value: Any, temporaries: Temporaries) -> Any:
    return open(_file(name, value, temporaries), "rb")


def _file(name: str, value: Any, temporaries: Temporaries) -> Any:
    """A data: URI or an address becomes a local file."""
    if isinstance(value, Path):  # a default
        return value
    if not isinstance(value, str):
        raise BadInput(f"{name}: a file is given as a URL or a data: URI")
    match urllib.parse.urlsplit(value).scheme.lower():
        case "data":
            return _from_data(name, value, temporaries)
        case "http" | "https":
            return _download(name, value, temporaries)
        case scheme:
            raise BadInput(f"{name}: {scheme or 'a bare path'} is not allowed: give an http(s) URL or a data: URI")


def _from_data(name: str, uri: str, temporaries: Temporaries) -> Path:
    head, comma, body = uri[5:].partition(",")
    if not comma:
        raise BadInput(f"{name}: the data: URI has no comma")
    media, *options = head.split(";")
    try:
        content = (
            base64.b64decode(urllib.parse.unquote(body), validate=True)
            if "base64" in options
            else urllib.parse.unquote_to_bytes(body)
        )
    except (binascii.Error, ValueError) as error:
        raise BadInput(f"{name}: the data: URI cannot be decoded: {error}") from None
    with temporaries.make(mimetypes.guess_extension(media) or "") as file:
        file.write(content)
    return Path(file.name)


def _download(name: str, url: str, temporaries: Temporaries) -> Path:
    from urllib.request import urlopen  # brings http, ssl and email with it, which most predictors never need

    suffix = os.path.splitext(urllib.parse.urlsplit(url).path)[1]
    try:
        with urlopen(url, timeout=_TIMEOUT) as answer, temporaries.make(suffix) as file:  # noqa: S310
            size = 0
            while piece := answer.read(_PIECE):
                size += len(piece)
                if size > _LARGEST:
                    raise BadInput(f"{name}: the file is larger than {_LARGEST // 1_000_000} MB")
                file.write(piece)
    except OSError as error:
        raise BadInput(f"{name}: the file cannot be fetched: {error}") from None
    return Path(file.name)
