"""`owner/name`, `owner/name:version`, and predictions: the first characters of an id suffice."""

import re
from itertools import islice
from typing import Final

from msgspec import Struct

from deploy.cli.client.api import Api
from deploy.errors import Unusable
from schemas.subjects import ID_LENGTH

WHOLE: Final = re.compile(r"[0-9a-f]{64}")
BEGINNING: Final = re.compile(r"[0-9a-z]{4,}")
PREFIX: Final = re.compile(r"[0-9a-f]{4,63}")
LATELY: Final = 1000  # predictions among which the beginning of an id is looked for
PART: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Reference(Struct, frozen=True):
    name: str
    """owner/name"""
    version: str | None

    @property
    def path(self) -> str:
        """Of what it names, in the API."""
        return f"/v1/models/{self.name}" + (f"/versions/{self.version}" if self.version else "")

    def __str__(self) -> str:
        return f"{self.name}:{self.version}" if self.version else self.name


def model(text: str) -> Reference:
    """`owner/name` alone. Raises `Unusable`."""
    owner, slash, name = text.partition("/")
    if not slash or not PART.fullmatch(owner) or not PART.fullmatch(name):
        raise Unusable(f"{text}: a model is named owner/name, of letters, digits and . _ -")
    return Reference(text, None)


def read(api: Api, text: str) -> Reference:
    """With the whole id of its version. Raises `Unusable`."""
    name, colon, version = text.partition(":")
    found = model(name)
    if not colon:
        return found
    version = version.lower()
    if WHOLE.fullmatch(version):
        return Reference(name, version)
    if not PREFIX.fullmatch(version):
        raise Unusable(f"{text}: a version is 64 hex digits, or the first of them, 4 at least")
    return Reference(name, _only(found, version, [each["id"] for each in api.pages(f"{found.path}/versions")]))


def prediction(api: Api, text: str) -> str:
    """The whole id of one that was made lately; what is not the beginning of any is left to the gateway to refuse."""
    if len(text) >= ID_LENGTH or not BEGINNING.fullmatch(text):
        return text
    fitting = [p["id"] for p in islice(api.pages("/v1/predictions"), LATELY) if p["id"].startswith(text)]
    if len(fitting) > 1:
        raise Unusable(f"{text}: several predictions begin so, give more of it: {', '.join(fitting[:5])}")
    return fitting[0] if fitting else text


def _only(found: Reference, prefix: str, ids: list[str]) -> str:
    fitting = [id for id in ids if id.startswith(prefix)]
    if not fitting:
        raise Unusable(
            f"{found.name}:{prefix}: no version begins so; `samovar models versions {found.name}` lists them"
        )
    if len(fitting) > 1:
        raise Unusable(f"{found}:{prefix}: several versions begin so, give more digits: {', '.join(fitting)}")
    return fitting[0]
