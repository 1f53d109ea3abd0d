"""What a gateway is told at its start; `SAMOVAR_DATABASE_URL` sets `database_url`."""

import sys
from collections.abc import Mapping
from typing import Annotated, Final

from msgspec import Meta, Struct, convert, structs

from gateway.egress import policy

PREFIX: Final = "SAMOVAR_"
MOST: Final = 1_000_000_000  # calls in a minute; the database counts further than that


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    database_url: str
    """postgresql://… of the record."""
    nats_url: str = "nats://127.0.0.1:4222"
    """Of any server of the cluster; credentials may stand in it."""
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8000
    reuse_port: bool = False
    """Others may listen there as well, if they say so too: the kernel shares connections out among them (Linux)."""
    socket: str | None = None
    """Path of a Unix socket at which it answers as well: of several at one port, this one."""
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
    upload_expiry: Annotated[float, Meta(ge=1, le=315_360_000)] = 86_400.0
    """Seconds that an uploaded file is kept."""
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
    retention_api: Annotated[float, Meta(ge=0, le=3e9)] = 2_592_000.0
    """Seconds after its end for which input, output, logs and files of a prediction are kept; 0: for ever."""
    retention_web: Annotated[float, Meta(ge=0, le=3e9)] = 2_592_000.0
    """The same of those made on the website."""
    database_connections: Annotated[int, Meta(ge=2, le=100)] = 8
    queue_cap: Annotated[int, Meta(ge=1)] = 100_000
    """Jobs that may wait per model; more are answered with 429."""
    creates_per_minute: Annotated[int, Meta(ge=0, le=MOST)] = 0
    """Predictions and trainings that an account may create; 0: no limit."""
    others_per_minute: Annotated[int, Meta(ge=0, le=MOST)] = 0
    """All other calls."""
    hardware_kinds: str = "cpu=CPU"
    """Hardware that deployments may ask for before a runner has it: comma-separated, SKU=name."""
    events_age: Annotated[float, Meta(ge=60)] = 3600.0
    """Seconds for which the event stream is kept; longer than a run may take."""
    events_bytes: Annotated[int, Meta(ge=1_000_000)] = 4_000_000_000
    replicas: Annotated[int, Meta(ge=1, le=5)] = 1
    """Of both JetStream streams; 3 on a cluster."""
    webhook_http: bool = True
    """Webhooks may go to http:// addresses, too, as many do that never leave their own network."""
    webhook_private: bool = False
    """Webhooks may go to private and loopback addresses."""
    webhook_allow: str = ""
    """Comma-separated networks and host names that webhooks may go to, private or not."""
    webhook_ca: str | None = None
    """Path of a file of certificates that receivers of webhooks are trusted by, beside the usual ones."""
    webhook_verify: bool = True
    """Whether the certificates of receivers are checked."""
    webhook_timeout: Annotated[float, Meta(gt=0, le=60)] = 10.0
    """Seconds that a receiver has to answer."""
    webhook_retry_seconds: Annotated[float, Meta(gt=0, le=3600)] = 5.0
    """Seconds until a webhook of an end is sent again; each later wait is as long as all before it, up to an hour."""
    webhook_retry_hours: Annotated[float, Meta(ge=0, le=720)] = 24.0
    """For how long that goes on."""
    webhook_log_days: Annotated[float, Meta(gt=0)] = 14.0
    """For how long it is told what became of a webhook."""
    webhook_rotation_hours: Annotated[float, Meta(ge=0, le=720)] = 24.0
    """For how long an old secret signs beside a new one."""

    def __post_init__(self) -> None:
        if self.reuse_port and sys.platform != "linux":
            raise ValueError("only Linux shares connections out among several gateways at one port - at `$.reuse_port`")
        try:
            policy.allowed(self.webhook_allow)
        except ValueError as error:
            raise ValueError(f"{error} - at `$.webhook_allow`") from None

    @property
    def reach(self) -> policy.Reach:
        """Where webhooks may go."""
        networks, hosts = policy.allowed(self.webhook_allow)
        return policy.Reach(http=self.webhook_http, private=self.webhook_private, networks=networks, hosts=hosts)


NAMES: Final = frozenset(PREFIX + name.upper() for name in Settings.__struct_fields__)


def from_env(environ: Mapping[str, str]) -> Settings:
    """Raises `msgspec.ValidationError`, which names the field, for a value out of bounds or missing."""
    fields = {field.encode_name for field in structs.fields(Settings)}
    named = {name.removeprefix(PREFIX).lower(): value for name, value in environ.items() if name.startswith(PREFIX)}
    return convert({name: value for name, value in named.items() if name in fields}, Settings, strict=False)
