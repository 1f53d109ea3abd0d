"""What can be set for an agent."""

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from secrets import token_hex
from typing import Annotated, Final

from msgspec import Meta, Struct, ValidationError, convert, field

from runners import units
from runners.errors import RunnerError

PREFIX: Final = "SAMOVAR_"
Seconds = Annotated[float, Meta(gt=0)]
SecretsKey = Annotated[str, Meta(pattern=r"^[0-9a-fA-F]{64}$")]
Size = Annotated[str, Meta(pattern=units.PATTERN)]
Sku = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=64)]
Token = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]+$", max_length=64)]


def _name() -> str:
    host = "".join(c if c.isalnum() or c == "-" else "-" for c in socket.gethostname())
    return f"{host[:40] or 'agent'}-{token_hex(3)}"


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    nats_url: str = "nats://127.0.0.1:4222"
    models: tuple[str, ...] = ()
    """Cog folders, or folders of Cog folders."""
    bundled: bool = True
    """Offer the models that come with Samovar, too."""
    cache_dir: str = field(default_factory=lambda: str(Path.home() / ".cache" / "samovar"))
    files_url: str = "file:///var/lib/samovar/files"
    """Where files are: `file:///folder`, the URL of an object store, or a gateway's, `http://gateway:8000/-/files`."""
    files_token: str | None = None
    """What a gateway asks for at `/-/files`."""
    secrets_key: SecretsKey | None = None
    """The private key of the installation, which opens secret inputs."""
    builds: bool = True
    """Take pushes: build what is pushed, and try it."""
    trainings: bool = True
    """Take trainings, one at a time."""
    train_limit: Seconds = 86_400
    """How long one may take."""
    build_limit: Seconds = 1800
    """How long an environment may take to be made."""
    cache_bytes: Annotated[int, Meta(ge=0)] = 50_000_000_000
    """How much of pushed folders and of environments to keep in `cache_dir`; what is in use always stays."""
    input_bytes: Annotated[int, Meta(ge=0)] = 1_000_000_000
    """How large a file that an input names may be."""
    input_timeout: Seconds = 60
    """How long fetching it may take."""
    max_output: Annotated[int, Meta(ge=1)] = 16_000_000
    """How many bytes the output of a prediction may have as JSON, files aside."""
    private_inputs: bool = False
    """Fetch inputs from private addresses, too."""
    pool: Token = "default"
    hardware: Sku | None = None
    """What deployments ask for to be served here; None: `cpu`, or the name of its GPUs."""
    agent: Token = field(default_factory=_name)
    run_limit: Seconds = 1800
    setup_limit: Seconds = 600
    cancel_grace: Seconds = 5
    """How long a worker may take to stop a prediction before it is killed."""
    drain_seconds: Annotated[float, Meta(ge=0)] = 0
    """How long running predictions may go on once the agent is told to stop."""
    idle_timeout: Annotated[float, Meta(ge=0)] = 0
    """After how long without work a worker is ended; 0: never."""
    memory: Size | None = None
    """How much of the host's memory all workers together may take; None: four fifths of what there is."""
    device_memory: Size | None = None
    """How much of each device they may take; None: nearly all of a GPU, and of the host's for cores."""
    cpu_devices: Annotated[int, Meta(ge=0)] = 0
    """Into how many groups the cores are divided where there is no GPU; 0: one for every eight."""
    threads: Annotated[int, Meta(ge=0)] = 0
    """How many threads a worker may compute with; 0: as many as its group has cores, one less if it is all."""
    min_residency: Annotated[float, Meta(ge=0)] = 5
    """How long a model stays, at most, before it has to make room for another: as long as its loading took."""
    turn_limit: Seconds = 30
    """How long a model that has work all the time may keep others waiting."""
    max_instances: Annotated[int, Meta(ge=1)] = 64
    """Of one version, in the whole fleet."""
    ack_wait: Seconds = 10
    heartbeat: Seconds = 3
    replicas: Annotated[int, Meta(ge=1, le=5)] = 1
    queue_cap: Annotated[int, Meta(ge=1)] = 100_000
    events_age: Seconds = 3600
    events_bytes: Annotated[int, Meta(ge=1_000_000)] = 4_000_000_000

    @property
    def memory_bytes(self) -> int | None:
        return units.read(self.memory) if self.memory else None

    @property
    def device_memory_bytes(self) -> int | None:
        return units.read(self.device_memory) if self.device_memory else None


NAMES: Final = frozenset(PREFIX + name.upper() for name in Settings.__struct_fields__)
_SWITCHES: Final = ("bundled", "builds", "trainings", "private_inputs")


class BadSetting(RunnerError):
    """A setting cannot be used."""


def from_env(environ: Mapping[str, str]) -> Settings:
    """Names of other processes are none of our business: the command line checks all names together."""
    given: dict[str, object] = {_field(name): value for name, value in environ.items() if name in NAMES}
    if isinstance(models := given.get("models"), str):
        given["models"] = tuple(filter(None, models.split(os.pathsep)))
    given |= {name: text.lower() for name in _SWITCHES if isinstance(text := given.get(name), str)}
    try:
        return convert(given, Settings, strict=False)
    except ValidationError as error:
        raise BadSetting(_said(error)) from error


def _field(name: str) -> str:
    return name.removeprefix(PREFIX).lower()


def _said(error: ValidationError) -> str:
    """In terms of the environment: that is where it is put right."""
    reason, _, place = str(error).partition(" - at `$.")
    return f"{PREFIX}{place.rstrip('`').upper()}: {reason}" if place else reason
