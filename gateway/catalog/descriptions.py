"""Descriptions of models that clients send over HTTP, read and checked."""

from typing import Final, Literal
from urllib.parse import urlsplit

from msgspec import UNSET, Struct, UnsetType, structs

from gateway.catalog.input_schema import NUL_REFUSED
from gateway.errors import invalid_field
from gateway.urls import Url

Visibility = Literal["public", "private"]

MAX_LENGTHS: Final = {"description": 10_000, "readme": 100_000, "full_description": 100_000}
DEFAULT_MAX_LENGTH: Final = 2_000  # characters
NOT_A_URI: Final = "Does not match format 'uri': give an address that begins with http:// or https://"


class ModelChanges(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Changes of a model's description: a field that is left out stays as it is, null removes it."""

    description: str | UnsetType | None = UNSET
    readme: str | UnsetType | None = UNSET
    visibility: Visibility | UnsetType = UNSET
    hardware: str | UnsetType = UNSET
    github_url: Url | UnsetType | None = UNSET
    paper_url: Url | UnsetType | None = UNSET
    weights_url: Url | UnsetType | None = UNSET
    license_url: Url | UnsetType | None = UNSET
    cover_image_url: Url | UnsetType | None = UNSET
    default_example: str | UnsetType | None = UNSET
    """The id of a prediction that is one of the model's examples."""

    def checked_fields(self) -> dict[str, str | None]:
        """Return the fields that were sent. Raises `InvalidInput`."""
        sent = {name: value for name, value in structs.asdict(self).items() if value is not UNSET}
        return {name: check_text(name, value) for name, value in sent.items()}


class NewModel(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model to create, with its description."""

    owner: str
    name: str
    visibility: Visibility
    hardware: str
    description: str | None = None
    github_url: Url | None = None
    paper_url: Url | None = None
    license_url: Url | None = None
    cover_image_url: Url | None = None

    def checked_fields(self) -> dict[str, str | None]:
        """Return the description, without owner and name. Raises `InvalidInput`."""
        sent = {name: value for name, value in structs.asdict(self).items() if name not in {"owner", "name"}}
        return {name: check_text(name, value) for name, value in sent.items()}


def check_text(field: str, value: str | None) -> str | None:
    """Return a text that the database can store, and that is a URL if its field takes URLs.

    An empty URL becomes None. Raises `InvalidInput`.
    """
    if value is None or (field.endswith("_url") and not value):
        return None
    longest = MAX_LENGTHS.get(field, DEFAULT_MAX_LENGTH)
    if len(value) > longest:
        raise invalid_field(field, "string_lte", f"String length must be less than or equal to {longest}")
    if "\0" in value:
        raise invalid_field(field, "pattern", NUL_REFUSED)
    if field.endswith("_url") and not _is_http_url(value):
        raise invalid_field(field, "format", NOT_A_URI)
    return value


def _is_http_url(text: str) -> bool:
    if not text.isprintable() or " " in text:
        return False
    try:
        parts = urlsplit(text)
        return parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        return False
