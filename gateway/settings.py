"""What a gateway is told at its start; `SAMOVAR_DATABASE_URL` sets `database_url`."""

from collections.abc import Mapping
from typing import Annotated, Final

from msgspec import Meta, Struct, convert, structs

PREFIX: Final = "SAMOVAR_"


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    database_url: str
    """postgresql://… of the record."""
    nats_url: str = "nats://127.0.0.1:4222"
    """Of any server of the cluster; credentials may stand in it."""
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8000
    token: str | None = None
    """A token that is valid from the start, for the account `account`."""
    account: str = "samovar"
    """User name of the account that `token` belongs to."""
    files_url: str = "file:///var/lib/samovar/files"
    """Where large inputs and output files are kept: a folder, or an object store that obstore knows."""
    public_url: str | None = None
    """Base of every URL that is given out; by default what the client itself called."""
    cors_origins: str = "*"
    """Comma-separated origins that browsers may call from."""
    page_size: Annotated[int, Meta(ge=1, le=1000)] = 100
    max_body: Annotated[int, Meta(ge=1024)] = 20_000_000
    """Bytes of a request's body."""
    max_push: Annotated[int, Meta(ge=1024)] = 50_000_000_000
    """Bytes of a pushed archive, and of a file that a runner sends through the gateway."""
    max_upload: Annotated[int, Meta(ge=1)] = 100_000_000
    """Bytes of an uploaded file."""
    secrets_public_key: Annotated[str, Meta(pattern="^[0-9a-fA-F]{64}$")] | None = None
    """Public key, in hex, that secret inputs are sealed for; runners have the other one. None: none are taken."""
    files_token: Annotated[str, Meta(min_length=16)] | None = None
    """What runners that do not share the file store show to use it at /-/files; None: nobody may."""
    max_depth: Annotated[int, Meta(ge=1, le=500)] = 64
    """Levels of nesting in a request's body."""
    max_wait: Annotated[float, Meta(ge=0, le=58)] = 58.0
    """Seconds that `Prefer: wait` is held at most."""
    keep_alive: Annotated[float, Meta(gt=0)] = 15.0
    """Seconds between comments on an idle stream."""
    database_connections: Annotated[int, Meta(ge=2, le=100)] = 8
    queue_cap: Annotated[int, Meta(ge=1)] = 100_000
    """Jobs that may wait per model; more are answered with 429."""
    hardware_kinds: str = "cpu=CPU"
    """Hardware that deployments may ask for before a runner has it: comma-separated, SKU=name."""
    events_age: Annotated[float, Meta(ge=60)] = 3600.0
    """Seconds for which the event stream is kept; longer than a run may take."""
    events_bytes: Annotated[int, Meta(ge=1_000_000)] = 4_000_000_000
    replicas: Annotated[int, Meta(ge=1, le=5)] = 1
    """Of both JetStream streams; 3 on a cluster."""


NAMES: Final = frozenset(PREFIX + name.upper() for name in Settings.__struct_fields__)


def from_env(environ: Mapping[str, str]) -> Settings:
    """Raises `msgspec.ValidationError`, which names the field, for a value out of bounds or missing."""
    fields = {field.encode_name for field in structs.fields(Settings)}
    named = {name.removeprefix(PREFIX).lower(): value for name, value in environ.items() if name.startswith(PREFIX)}
    return convert({name: value for name, value in named.items() if name in fields}, Settings, strict=False)
