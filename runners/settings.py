"""The settings of an agent."""

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


def _default_name() -> str:
    host = "".join(c if c.isalnum() or c == "-" else "-" for c in socket.gethostname())
    return f"{host[:40] or 'agent'}-{token_hex(3)}"


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of one agent, from environment variables that begin with `SAMOVAR_`."""

    nats_url: str = "nats://127.0.0.1:4222"
    models: tuple[str, ...] = ()
    """Cog folders, or folders of Cog folders."""
    bundled: bool = True
    """Whether to serve the models that come with Samovar, too."""
    cache_dir: str = field(default_factory=lambda: str(Path.home() / ".cache" / "samovar"))
    files_url: str = "file:///var/lib/samovar/files"
    """The file store: `file:///folder`, the URL of an object store, or a gateway's, `http://gateway:8000/-/files`."""
    files_token: str | None = None
    """The token that a gateway requires at `/-/files`."""
    secrets_key: SecretsKey | None = None
    """The private key of the installation, which opens secret inputs."""
    builds: bool = True
    """Whether to build pushed versions, and try each."""
    trainings: bool = True
    """Whether to run trainings, one at a time."""
    train_limit: Seconds = 86_400
    """How long a training may take, in seconds."""
    build_limit: Seconds = 1800
    """How long the build of an environment may take, in seconds."""
    cache_bytes: Annotated[int, Meta(ge=0)] = 50_000_000_000
    """How many bytes of pushed folders and environments to keep in `cache_dir`; what is in use always stays."""
    input_bytes: Annotated[int, Meta(ge=0)] = 1_000_000_000
    """How many bytes a file in an input may have."""
    input_timeout: Seconds = 60
    """How long its download may take, in seconds."""
    max_output: Annotated[int, Meta(ge=1)] = 16_000_000
    """How many bytes the output of a prediction may have as JSON, files aside."""
    private_inputs: bool = False
    """Whether to download input files from private addresses, too."""
    pool: Token = "default"
    hardware: Sku | None = None
    """The hardware name by which deployments choose this host; None means `cpu`, or the name of its GPUs."""
    agent: Token = field(default_factory=_default_name)
    run_limit: Seconds = 1800
    setup_limit: Seconds = 600
    cancel_grace: Seconds = 5
    """How long a worker may take to stop a prediction before it is killed, in seconds."""
    drain_seconds: Annotated[float, Meta(ge=0)] = 0
    """How long running predictions may go on once the agent is to stop, in seconds."""
    idle_timeout: Annotated[float, Meta(ge=0)] = 0
    """After how many seconds without work an instance is evicted; 0 means never."""
    memory: Size | None = None
    """How much of the host's memory all workers together may use; None means four fifths of it."""
    device_memory: Size | None = None
    """How much of each device's memory they may use; None means nearly all of a GPU's, or of the host's for cores."""
    cpu_devices: Annotated[int, Meta(ge=0)] = 0
    """The number of groups of cores on a host without GPUs; 0 means one for every eight cores."""
    threads: Annotated[int, Meta(ge=0)] = 0
    """How many threads a worker may compute with; 0 means one per core of its group, less one if it has all cores."""
    min_residency: Annotated[float, Meta(ge=0)] = 5
    """The seconds for which a loaded model need not make room: as long as its loading took, and at most this."""
    turn_limit: Seconds = 30
    """How long a model that always has work may keep others waiting, in seconds."""
    max_instances: Annotated[int, Meta(ge=1)] = 64
    """The largest number of instances of one version in the whole fleet."""
    ack_wait: Seconds = 10
    heartbeat: Seconds = 3
    replicas: Annotated[int, Meta(ge=1, le=5)] = 1
    queue_cap: Annotated[int, Meta(ge=1)] = 100_000
    events_age: Seconds = 3600
    events_bytes: Annotated[int, Meta(ge=1_000_000)] = 4_000_000_000

    @property
    def memory_bytes(self) -> int | None:
        """`memory` in bytes."""
        return units.parse_bytes(self.memory) if self.memory else None

    @property
    def device_memory_bytes(self) -> int | None:
        """`device_memory` in bytes."""
        return units.parse_bytes(self.device_memory) if self.device_memory else None


NAMES: Final = frozenset(PREFIX + name.upper() for name in Settings.__struct_fields__)
_BOOLEANS: Final = ("bundled", "builds", "trainings", "private_inputs")


class BadSetting(RunnerError):
    """A setting has an invalid value."""


def from_env(environ: Mapping[str, str]) -> Settings:
    """Read the settings from environment variables. Raises `BadSetting`.

    It skips names that other processes know; the command line checks the names of all processes together.
    """
    values: dict[str, object] = {_field(name): value for name, value in environ.items() if name in NAMES}
    if isinstance(models := values.get("models"), str):
        values["models"] = tuple(filter(None, models.split(os.pathsep)))
    values |= {name: text.lower() for name in _BOOLEANS if isinstance(text := values.get(name), str)}
    try:
        return convert(values, Settings, strict=False)
    except ValidationError as error:
        raise BadSetting(_message(error)) from error


def _field(name: str) -> str:
    return name.removeprefix(PREFIX).lower()


def _message(error: ValidationError) -> str:
    """Describe an error by the name of the environment variable, which is where it has to be corrected."""
    reason, _, place = str(error).partition(" - at `$.")
    return f"{PREFIX}{place.rstrip('`').upper()}: {reason}" if place else reason
