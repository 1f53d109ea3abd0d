"""What runners say of themselves: the versions they can run, and that they are there."""

from msgspec import Raw, Struct, json


class Offer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A version that a runner can load."""

    owner: str
    name: str
    version: str
    """64 hex digits: the sha256 of owner/name and content."""
    openapi_schema: Raw
    cog_version: str
    description: str | None = None
    readme: str | None = None
    license_url: str | None = None
    github_url: str | None = None
    paper_url: str | None = None
    pool: str = "default"


class Offers(Struct, frozen=True, kw_only=True):
    agent: str
    offers: list[Offer]


class Presence(Struct, frozen=True, kw_only=True):
    """Said every few seconds: what is not heard of for a while is gone."""

    agent: str
    host: str
    pool: str
    versions: list[str]
    """Which it offers."""
    warm: list[str]
    """Which of them have a live instance."""


decode_offers = json.Decoder(Offers).decode
decode_presence = json.Decoder(Presence).decode
