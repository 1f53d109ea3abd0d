"""An input as it is recorded and sent: our own files as keys, secrets sealed; and as clients see it again."""

import base64
import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, cast
from urllib.parse import SplitResult, unquote, urlsplit

from msgspec import Raw, json, structs
from nacl.public import PublicKey, SealedBox

from gateway.catalog.catalog import Version
from gateway.errors import InvalidInput, NotFound, NotSupported
from gateway.urls import canonical
from schemas.inputs import FILE, SEALED, WIPED, Secret
from schemas.prediction import Prediction
from schemas.problem import InvalidField

# The quote that opens a text is never escaped, so a text that merely speaks of a marker is none.
MARKED: Final = re.compile(rf'(?<!\\)"(?:{FILE}((?:[^"\\]|\\.)*)|{SEALED}[^"]*)"'.encode())
NOT_FOUND: Final = "No such file: upload it anew, or give the URL of an output that is still kept."
NO_KEY: Final = (
    "{field}: this input is a secret, and this installation has no key to keep secrets with. "
    "Set SAMOVAR_SECRETS_PUBLIC_KEY for the gateway and SAMOVAR_SECRETS_KEY for its runners."
)

Resolve = Callable[[str, str], Awaitable[str]]
"""The key of one of our own files, by the path of its URL and the query. Raises `NotFound`."""


class Inputs:
    def __init__(self, public_key: str | None) -> None:
        self._box = SealedBox(PublicKey(bytes.fromhex(public_key))) if public_key else None

    async def record(
        self, p: Prediction, version: Version, input: Raw, bases: tuple[str, ...], resolve: Resolve
    ) -> Prediction:
        """The prediction with its input as it is recorded. Raises `InvalidInput` or `NotSupported`.

        `bases` are the URLs that are known to lead here.
        """
        rules = version.validator
        if not rules.files and not rules.secrets:
            return structs.replace(p, input=input)
        value: dict[str, Any] = json.decode(bytes(input))
        before = dict(value)
        for field in rules.files & value.keys():
            value[field] = await _each(value[field], partial(_as_key, field, bases, resolve))
        for field in rules.secrets & value.keys():
            value[field] = await _each(value[field], partial(self._seal, p.id, field))
        sealed = any(value[field] != before[field] for field in rules.secrets & value.keys())
        # What nothing was replaced in stays as it was written.
        return structs.replace(p, input=Raw(json.encode(value)) if value != before else input, secret=sealed)

    async def _seal(self, id: str, field: str, text: str) -> str:
        if self._box is None:
            raise NotSupported(NO_KEY.format(field=f"input.{field}"))
        return SEALED + base64.b64encode(self._box.encrypt(json.encode(Secret(id, text)))).decode()


def shown(input: Raw, url: Callable[[str], str]) -> Raw:
    """As clients see it: `url` makes a URL of a key, and of a secret nothing is shown."""
    text = bytes(input)
    if b'"samovar-' not in text:
        return input

    def show(found: re.Match[bytes]) -> bytes:
        key = found[1]
        return json.encode(WIPED if key is None else url(json.decode(b'"%b"' % key, type=str)))

    return Raw(MARKED.sub(show, text))


def files_in(input: str) -> list[str]:
    """Keys of the files that an input speaks of."""
    found = MARKED.finditer(input.encode())
    return [json.decode(b'"%b"' % key, type=str) for each in found if (key := each[1]) is not None]


async def _each(value: object, change: Callable[[str], Awaitable[str]]) -> object:
    """A text changed, or the texts of a list; anything else as it is."""
    if isinstance(value, str):
        return await change(value)
    if isinstance(value, list):
        items = cast(list[object], value)
        return [await change(each) if isinstance(each, str) else each for each in items]
    return value


async def _as_key(field: str, bases: tuple[str, ...], resolve: Resolve, text: str) -> str:
    path = _own(text, bases)
    if path is None:
        return text
    try:
        return FILE + await resolve(path, urlsplit(text).query)
    except NotFound as error:
        raise InvalidInput([InvalidField(type="format", field=f"input.{field}", description=NOT_FOUND)]) from error


def _own(url: str, bases: tuple[str, ...]) -> str | None:
    """The path below `/v1/files/` or `/v1/outputs/` of a URL that leads here; None for any other."""
    if url.startswith("data:"):
        return None
    try:
        asked = urlsplit(url)
    except ValueError:
        return None
    for base in map(urlsplit, bases):
        prefix = base.path.rstrip("/")
        if _origin(asked) == _origin(base) and asked.path.startswith(prefix + "/"):
            path = canonical(asked.path.removeprefix(prefix))
            return unquote(path) if path.startswith(("/v1/files/", "/v1/outputs/")) else None
    return None


def _origin(url: SplitResult) -> tuple[str, str]:
    return url.scheme.lower(), url.netloc.lower()
