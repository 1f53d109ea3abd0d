"""What people say of a model over HTTP, read and checked."""

from typing import Final, Literal
from urllib.parse import urlsplit

from msgspec import UNSET, Struct, UnsetType, structs

from gateway.catalog.input_schema import NUL
from gateway.errors import wrong

Visibility = Literal["public", "private"]

LONGEST: Final = {"description": 10_000, "readme": 100_000, "full_description": 100_000}
OTHERWISE: Final = 2_000  # characters
NOT_A_URI: Final = "Does not match format 'uri': give an address that begins with http:// or https://"


class Description(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of a model: what is left out stays as it is, null takes it away."""

    description: str | UnsetType | None = UNSET
    readme: str | UnsetType | None = UNSET
    visibility: Visibility | UnsetType = UNSET
    hardware: str | UnsetType = UNSET
    github_url: str | UnsetType | None = UNSET
    paper_url: str | UnsetType | None = UNSET
    weights_url: str | UnsetType | None = UNSET
    license_url: str | UnsetType | None = UNSET
    cover_image_url: str | UnsetType | None = UNSET
    default_example: str | UnsetType | None = UNSET

    def given(self) -> dict[str, str | None]:
        """The fields that were sent. Raises `InvalidInput`."""
        sent = {name: value for name, value in structs.asdict(self).items() if value is not UNSET}
        return {name: checked(name, value) for name, value in sent.items()}


class NewModel(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    owner: str
    name: str
    visibility: Visibility
    hardware: str
    description: str | None = None
    github_url: str | None = None
    paper_url: str | None = None
    license_url: str | None = None
    cover_image_url: str | None = None

    def given(self) -> dict[str, str | None]:
        """All but what it is called. Raises `InvalidInput`."""
        sent = {name: value for name, value in structs.asdict(self).items() if name not in {"owner", "name"}}
        return {name: checked(name, value) for name, value in sent.items()}


def checked(field: str, value: str | None) -> str | None:
    """A text that the record can keep; of fields that are addresses, one that can be opened. Raises `InvalidInput`."""
    if value is None or (field.endswith("_url") and not value):
        return None
    longest = LONGEST.get(field, OTHERWISE)
    if len(value) > longest:
        raise wrong(field, "string_lte", f"String length must be less than or equal to {longest}")
    if "\0" in value:
        raise wrong(field, "pattern", NUL)
    if field.endswith("_url") and not _is_address(value):
        raise wrong(field, "format", NOT_A_URI)
    return value


def _is_address(text: str) -> bool:
    if not text.isprintable() or " " in text:
        return False
    try:
        parts = urlsplit(text)
        return parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        return False
