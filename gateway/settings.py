"""The settings of a gateway, from its environment: `SAMOVAR_DATABASE_URL` sets `database_url`."""

import sys
from collections.abc import Mapping
from typing import Annotated, Final

from msgspec import Meta, Struct, convert, structs

from gateway.egress import policy

PREFIX: Final = "SAMOVAR_"
MAX_PER_MINUTE: Final = 1_000_000_000  # requests; the database counts further than that


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of a gateway, read once at its start; every part of it takes values of them."""

    database_url: str
    """postgresql://… of the database."""
    nats_url: str = "nats://127.0.0.1:4222"
    """URL of any server of the NATS cluster; it may contain credentials."""
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8000
    reuse_port: bool = False
    """Lets other gateways with this setting listen there as well: the kernel distributes connections (Linux)."""
    socket: str | None = None
    """Path of a Unix socket to listen on as well; it reaches this gateway where several share a port."""
    token: str | None = None
    """A token that is valid from the start, for the account `account`."""
    account: str = "samovar"
    """User name of the account that `token` belongs to."""
    files_url: str = "file:///var/lib/samovar/files"
    """Where large inputs and output files are stored: a folder, or an object store that obstore supports."""
    public_url: str | None = None
    """Base of every URL in a response; by default the one that the client itself used."""
    cors_origins: str = "*"
    """Comma-separated origins that browsers may call from."""
    page_size: Annotated[int, Meta(ge=1, le=1000)] = 100
    max_body: Annotated[int, Meta(ge=1024)] = 20_000_000
    """Bytes that a request's body may have."""
    max_push: Annotated[int, Meta(ge=1024)] = 50_000_000_000
    """Bytes that a pushed archive may have, and a file that a runner sends through the gateway."""
    max_upload: Annotated[int, Meta(ge=1)] = 100_000_000
    """Bytes that an uploaded file may have."""
    upload_expiry: Annotated[float, Meta(ge=1, le=315_360_000)] = 86_400.0
    """Seconds for which an uploaded file is kept."""
    secrets_public_key: Annotated[str, Meta(pattern="^[0-9a-fA-F]{64}$")] | None = None
    """Public key, in hex, that seals secret inputs; runners have the private key. None: secret inputs are refused."""
    files_token: Annotated[str, Meta(min_length=16)] | None = None
    """Token with which runners that do not share the file store use it at /-/files; None: nobody may."""
    max_depth: Annotated[int, Meta(ge=1, le=500)] = 64
    """Levels of nesting that a request's body may have."""
    max_wait: Annotated[float, Meta(ge=0, le=58)] = 58.0
    """Seconds for which `Prefer: wait` is held at most."""
    keep_alive: Annotated[float, Meta(gt=0)] = 15.0
    """Seconds between comments on an idle stream."""
    retention_api: Annotated[float, Meta(ge=0, le=3e9)] = 2_592_000.0
    """Seconds after the end of a prediction for which its input, output, logs and files are kept; 0: for ever."""
    retention_web: Annotated[float, Meta(ge=0, le=3e9)] = 2_592_000.0
    """The same for predictions made on the website."""
    database_connections: Annotated[int, Meta(ge=2, le=100)] = 8
    queue_cap: Annotated[int, Meta(ge=1)] = 100_000
    """Jobs that may wait per model; more are answered with 429."""
    creates_per_minute: Annotated[int, Meta(ge=0, le=MAX_PER_MINUTE)] = 0
    """Predictions and trainings that an account may create per minute; 0: no limit."""
    others_per_minute: Annotated[int, Meta(ge=0, le=MAX_PER_MINUTE)] = 0
    """All other requests of an account per minute; 0: no limit."""
    hardware_kinds: str = "cpu=CPU"
    """Hardware that deployments may ask for before any runner has it: comma-separated, SKU=name."""
    events_age: Annotated[float, Meta(ge=60)] = 3600.0
    """Seconds for which the event stream is kept; longer than a run may take."""
    events_bytes: Annotated[int, Meta(ge=1_000_000)] = 4_000_000_000
    replicas: Annotated[int, Meta(ge=1, le=5)] = 1
    """Replicas of both JetStream streams; 3 on a cluster."""
    webhook_http: bool = True
    """Whether webhooks may go to http:// addresses, as many do that never leave their own network."""
    webhook_private: bool = False
    """Whether webhooks may go to private and loopback addresses."""
    webhook_allow: str = ""
    """Comma-separated networks and host names that webhooks may go to, private or not."""
    webhook_ca: str | None = None
    """Path of a file of certificates to trust for receivers of webhooks, beside the usual ones."""
    webhook_verify: bool = True
    """Whether the certificates of webhook receivers are checked."""
    webhook_timeout: Annotated[float, Meta(gt=0, le=60)] = 10.0
    """Seconds within which a webhook receiver must answer."""
    webhook_retry_seconds: Annotated[float, Meta(gt=0, le=3600)] = 5.0
    """Seconds until a `completed` webhook is sent again; each later wait is as long as all before it, up to an hour."""
    webhook_retry_hours: Annotated[float, Meta(ge=0, le=720)] = 24.0
    """Hours for which such a webhook is sent again."""
    webhook_log_days: Annotated[float, Meta(gt=0)] = 14.0
    """Days for which deliveries of webhooks are listed."""
    webhook_rotation_hours: Annotated[float, Meta(ge=0, le=720)] = 24.0
    """Hours for which an old webhook secret signs beside a new one."""

    def __post_init__(self) -> None:
        if self.reuse_port and sys.platform != "linux":
            raise ValueError(
                "only Linux distributes connections among several gateways on one port - at `$.reuse_port`"
            )
        try:
            policy.parse_allow_list(self.webhook_allow)
        except ValueError as error:
            raise ValueError(f"{error} - at `$.webhook_allow`") from None

    @property
    def egress_policy(self) -> policy.EgressPolicy:
        """The policy for where webhooks may go."""
        networks, hosts = policy.parse_allow_list(self.webhook_allow)
        return policy.EgressPolicy(
            allow_http=self.webhook_http, allow_private=self.webhook_private, networks=networks, hosts=hosts
        )


ENVIRONMENT_NAMES: Final = frozenset(PREFIX + name.upper() for name in Settings.__struct_fields__)


def from_env(environ: Mapping[str, str]) -> Settings:
    """Read the settings from the environment.

    Raises `msgspec.ValidationError`, which names the field, for a value that is missing or out of bounds.
    """
    fields = {field.encode_name for field in structs.fields(Settings)}
    named = {name.removeprefix(PREFIX).lower(): value for name, value in environ.items() if name.startswith(PREFIX)}
    return convert({name: value for name, value in named.items() if name in fields}, Settings, strict=False)
