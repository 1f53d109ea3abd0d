"""Inputs as they are recorded and sent, with files as keys and secrets sealed, and as clients see them again."""

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
from gateway.urls import canonical_path
from schemas.inputs import FILE_PREFIX, REDACTED, SEALED_PREFIX, Secret
from schemas.prediction import Prediction
from schemas.problem import InvalidField

# The quote that opens a text is never escaped, so a text that merely mentions a marker is none.
MARKED_TEXT: Final = re.compile(rf'(?<!\\)"(?:{FILE_PREFIX}((?:[^"\\]|\\.)*)|{SEALED_PREFIX}[^"]*)"'.encode())
FILE_MISSING: Final = "There is no such file. Upload it again, or give the URL of an output that still exists."
NO_KEY: Final = (
    "{field}: this input is a secret, and this installation has no key to encrypt secrets with. "
    "Set SAMOVAR_SECRETS_PUBLIC_KEY for the gateway and SAMOVAR_SECRETS_KEY for its runners."
)

FileResolver = Callable[[str, str], Awaitable[str]]
"""Returns the key of one of our own files, by the path of its URL and the query. Raises `NotFound`."""


class InputPreparer:
    """The preparation of checked inputs for the record; it has the public key that secrets are sealed with."""

    def __init__(self, public_key: str | None) -> None:
        self._box = SealedBox(PublicKey(bytes.fromhex(public_key))) if public_key else None

    async def prepare(
        self, p: Prediction, version: Version, input: Raw, bases: tuple[str, ...], resolve: FileResolver
    ) -> Prediction:
        """Return the prediction with its input as it is recorded.

        `bases` are the URLs that are known to lead here. Raises `InvalidInput` or `NotSupported`.
        """
        rules = version.validator
        if not rules.file_fields and not rules.secret_fields:
            return structs.replace(p, input=input)
        value: dict[str, Any] = json.decode(bytes(input))
        before = dict(value)
        for field in rules.file_fields & value.keys():
            value[field] = await _replace_texts(value[field], partial(_replace_url, field, bases, resolve))
        for field in rules.secret_fields & value.keys():
            value[field] = await _replace_texts(value[field], partial(self._seal, p.id, field))
        sealed = any(value[field] != before[field] for field in rules.secret_fields & value.keys())
        # An input in which nothing was replaced stays as it was written.
        return structs.replace(p, input=Raw(json.encode(value)) if value != before else input, secret=sealed)

    async def _seal(self, id: str, field: str, text: str) -> str:
        if self._box is None:
            raise NotSupported(NO_KEY.format(field=f"input.{field}"))
        return SEALED_PREFIX + base64.b64encode(self._box.encrypt(json.encode(Secret(id, text)))).decode()


def redact_input(input: Raw, url: Callable[[str], str]) -> Raw:
    """Return an input as clients see it: `url` turns a key into a URL, and secrets are removed."""
    text = bytes(input)
    if b'"samovar-' not in text:
        return input

    def replace(match: re.Match[bytes]) -> bytes:
        key = match[1]
        return json.encode(REDACTED if key is None else url(json.decode(b'"%b"' % key, type=str)))

    return Raw(MARKED_TEXT.sub(replace, text))


def find_files(input: str) -> list[str]:
    """List the keys of the files in an input."""
    matches = MARKED_TEXT.finditer(input.encode())
    return [json.decode(b'"%b"' % key, type=str) for match in matches if (key := match[1]) is not None]


async def _replace_texts(value: object, change: Callable[[str], Awaitable[str]]) -> object:
    """Change a text, or the texts of a list; leave anything else as it is."""
    if isinstance(value, str):
        return await change(value)
    if isinstance(value, list):
        items = cast(list[object], value)
        return [await change(each) if isinstance(each, str) else each for each in items]
    return value


async def _replace_url(field: str, bases: tuple[str, ...], resolve: FileResolver, text: str) -> str:
    path = _own_path(text, bases)
    if path is None:
        return text
    try:
        return FILE_PREFIX + await resolve(path, urlsplit(text).query)
    except NotFound as error:
        raise InvalidInput([InvalidField(type="format", field=f"input.{field}", description=FILE_MISSING)]) from error


def _own_path(url: str, bases: tuple[str, ...]) -> str | None:
    """Return the path below `/v1/files/` or `/v1/outputs/` of a URL that leads here; None for any other URL."""
    if url.startswith("data:"):
        return None
    try:
        target = urlsplit(url)
    except ValueError:
        return None
    for base in map(urlsplit, bases):
        prefix = base.path.rstrip("/")
        if _origin(target) == _origin(base) and target.path.startswith(prefix + "/"):
            path = canonical_path(target.path.removeprefix(prefix))
            return unquote(path) if path.startswith(("/v1/files/", "/v1/outputs/")) else None
    return None


def _origin(url: SplitResult) -> tuple[str, str]:
    return url.scheme.lower(), url.netloc.lower()
