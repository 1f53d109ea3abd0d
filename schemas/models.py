"""The messages about versions and runners: registrations, heartbeats, manifests, results of builds and trainings."""

import hashlib
from datetime import datetime
from typing import Literal

from msgspec import Raw, Struct, json


class VersionInfo(Struct, frozen=True, kw_only=True, omit_defaults=True):
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
    labels: dict[str, str] = {}
    """Labels of the version, such as `openai: chat`."""
    pool: str = "default"


class Registration(Struct, frozen=True, kw_only=True):
    """The versions that an agent can load, as it registers them with the gateways."""

    agent: str
    offers: list[VersionInfo]


class Device(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A device that models run on: a GPU, or a group of cores."""

    name: str
    """Such as `cuda:0` or `cpu:0`."""
    kind: str
    """The name that its maker gives it."""
    memory: int
    """Bytes of its memory that models may use; for a group of cores, of the host's memory."""
    planned: int = 0
    """Bytes of it that are assigned to the hot instances on it."""
    cores: int = 0


InstanceState = Literal["starting", "hot", "parked"]


class InstanceStatus(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The state of an instance of a version: a worker process, or one that is about to start."""

    version: str
    release: str | None = None
    """The pool of the releases that it serves; None if it serves everybody."""
    model: str
    """owner/name"""
    number: int
    """Number among the version's instances in the whole fleet, from 0."""
    state: InstanceState
    """hot: on its device. parked: in the host's memory. A cold version has no instance."""
    phase: str | None = None
    """The phase of one that is starting: one of `schemas.phases`."""
    devices: list[str] = []
    memory: int = 0
    """Resident bytes of its processes."""
    planned: int = 0
    """Bytes of the host's memory that are assigned to it."""
    running: int = 0
    queued: int = 0
    """The number of jobs that wait in its version's queue, as of its agent's last delivery."""
    since: datetime
    """When it started to load."""
    used_at: datetime | None = None
    """When it last had something to do."""


class Heartbeat(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The state of an agent, published every few seconds: one without a heartbeat for a while is gone."""

    agent: str
    host: str
    pool: str
    versions: list[str]
    """The versions that it has registered; omitted while they are those of an earlier heartbeat with this `edition`."""
    edition: str = ""
    """Identifies the list of versions: another list has another edition. Empty if `versions` is never omitted."""
    warm: list[str]
    """The services (`subjects.service`) that have a live instance: they take jobs without a wake."""
    starting: dict[str, str] = {}
    """The phase of each service that is starting."""
    failed: dict[str, str] = {}
    """The reason for each service whose last set-up failed."""
    hardware: str = ""
    """The name by which deployments ask for a host like this one: `cpu`, `gpu-l40s-2x`."""
    memory: int = 0
    """Bytes of the host's memory that all models together may use."""
    used: int = 0
    """Resident bytes of all workers."""
    devices: list[Device] = []
    residents: list[InstanceStatus] = []
    counts: dict[str, int] = {}
    """Counters since the agent started: `loads`, `parks`, `unparks`, `evictions`, `replaced`, ..."""


class Weights(Struct, frozen=True, kw_only=True):
    """A file with the weights that a training produced."""

    key: str
    """Its key in the file store."""
    sha256: str
    size: int


class Manifest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The parts of a version that was pushed or trained.

    Runners find it in the file store, under `keys.manifest(version)`. A pushed version has a `pack`; a trained one has
    the folder of its `base`, and `weights` of its own.
    """

    owner: str
    name: str
    pack: str = ""
    """64 hex digits: the sha256 of the tar archive of its folder, stored under `keys.archive(pack)`."""
    size: int = 0
    """Size of the archive, in bytes."""
    base: str | None = None
    """The version whose training this is the result of; it may be the result of a training itself."""
    weights: Weights | None = None

    @property
    def version(self) -> str:
        """The id of the version."""
        if self.base is None or self.weights is None:
            return version_id(self.owner, self.name, self.pack)
        return version_id(self.owner, self.name, f"{self.base} {self.weights.sha256}")


class BuildResult(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The output of a job of kind `build`: a pushed version that can be run."""

    offer: VersionInfo
    setup_seconds: float
    setup_log: str = ""
    """The last 100,000 characters that `setup` printed."""
    environment: str | None = None
    """Hash of the environment that was built for it; None if it runs in the runner's own."""
    notes: list[str] = []
    """Parts of `cog.yaml` that have no effect here, such as system packages."""


class TrainingResult(Struct, frozen=True, kw_only=True):
    """The output of a job of kind `train`."""

    output: Raw
    """What `train` returned, with files as in any output."""
    weights: Weights
    """The file among them that `setup` gets. Its key has the form `file:<key>`."""


class Release(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A version that a deployment wants to run, in a queue of its own."""

    pool: str
    """The pool of its queue: `subjects.release`."""
    model: str
    version: str
    hardware: str = ""
    """The hardware of the runners that may serve it; empty if any may."""
    min_instances: int = 0
    """The number of instances that the whole fleet always has."""
    max_instances: int = 1


class Releases(Struct, frozen=True, kw_only=True):
    """The releases to serve, and those that still have jobs. Runners unload any other."""

    at: datetime
    """When they were read from the database: runners ignore a message that is older than the last."""
    releases: list[Release]


class RetiredVersions(Struct, frozen=True, kw_only=True):
    """Versions that were deleted, for runners and gateways to forget."""

    versions: list[str]


def version_id(owner: str, name: str, content: str) -> str:
    """Compute a version's id, 64 hex digits, from its model's name and its content.

    `content` is the sha256 of its archive, or base and weights of a trained version.
    """
    return hashlib.sha256(f"{owner}/{name}\n{content}".encode()).hexdigest()


decode_registration = json.Decoder(Registration).decode
decode_heartbeat = json.Decoder(Heartbeat).decode
decode_manifest = json.Decoder(Manifest).decode
decode_build_result = json.Decoder(BuildResult).decode
decode_training_result = json.Decoder(TrainingResult).decode
decode_releases = json.Decoder(Releases).decode
decode_retired_versions = json.Decoder(RetiredVersions).decode
