"""References to models and predictions: `owner/name`, `owner/name:version`, and the first characters of an id."""

import re
from itertools import islice
from typing import Any, Final

from msgspec import Struct

from deploy.cli.client.api import Api
from deploy.errors import UsageError
from schemas.subjects import ID_LENGTH

FULL_VERSION: Final = re.compile(r"[0-9a-f]{64}")
VERSION_PREFIX: Final = re.compile(r"[0-9a-f]{4,63}")
PREDICTION_PREFIX: Final = re.compile(r"[0-9a-z]{4,}")
NAME_PART: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
MAX_RECENT_PREDICTIONS: Final = 1000  # among which a prefix of an id is looked up


class Reference(Struct, frozen=True):
    """A model, or one of its versions."""

    name: str
    """owner/name"""
    version: str | None

    @property
    def path(self) -> str:
        """The path of the model or the version in the API."""
        return f"/v1/models/{self.name}" + (f"/versions/{self.version}" if self.version else "")

    def __str__(self) -> str:
        return f"{self.name}:{self.version}" if self.version else self.name


def parse_model(text: str) -> Reference:
    """Parse `owner/name`, without a version. Raises `UsageError`."""
    owner, slash, name = text.partition("/")
    if not slash or not NAME_PART.fullmatch(owner) or not NAME_PART.fullmatch(name):
        raise UsageError(f"{text}: write a model as owner/name, with letters, digits and . _ -")
    return Reference(text, None)


def resolve_model(api: Api, text: str) -> Reference:
    """Parse `owner/name` or `owner/name:version`; the gateway completes a shortened version. Raises `UsageError`."""
    name, colon, version = text.partition(":")
    model = parse_model(name)
    if not colon:
        return model
    version = version.lower()
    if FULL_VERSION.fullmatch(version):
        return Reference(name, version)
    if not VERSION_PREFIX.fullmatch(version):
        raise UsageError(f"{text}: a version is 64 hex digits, or the first 4 or more of them")
    ids = [each["id"] for each in api.list_items(f"{model.path}/versions")]
    return Reference(name, _only_match(model, version, ids))


def resolve_prediction(api: Api, text: str) -> str:
    """Return the full id of a recent prediction. A text that begins no id is left to the gateway to refuse.

    Raises `UsageError` if several ids begin with it.
    """
    if len(text) >= ID_LENGTH or not PREDICTION_PREFIX.fullmatch(text):
        return text
    recent = islice(api.list_items("/v1/predictions"), MAX_RECENT_PREDICTIONS)
    matches = [p["id"] for p in recent if p["id"].startswith(text)]
    if len(matches) > 1:
        raise UsageError(f"{text}: several predictions begin with this, type more of the id: {', '.join(matches[:5])}")
    return matches[0] if matches else text


def latest_version(api: Api, model: Reference) -> dict[str, Any]:
    """Return the version that answers calls to the model without a version. Raises `UsageError` if there is none."""
    latest: dict[str, Any] = api.get(model.path).get("latest_version") or {}
    if not latest:
        raise UsageError(f"{model}: this model has no version yet; make one with `samovar push`")
    return latest


def _only_match(model: Reference, prefix: str, ids: list[str]) -> str:
    matches = [id for id in ids if id.startswith(prefix)]
    if not matches:
        raise UsageError(f"{model}:{prefix}: no version begins with this; `samovar models versions {model}` lists them")
    if len(matches) > 1:
        raise UsageError(f"{model}:{prefix}: several versions begin with this, type more digits: {', '.join(matches)}")
    return matches[0]
