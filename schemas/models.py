"""What runners say of themselves: the versions they can run, and that they are there; and what is pushed to them."""

import hashlib
from datetime import datetime
from typing import Literal

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
    labels: dict[str, str] = {}
    """What it says of itself, such as openai: chat."""
    pool: str = "default"


class Offers(Struct, frozen=True, kw_only=True):
    agent: str
    offers: list[Offer]


class Device(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What models run on: a GPU, or a group of cores."""

    name: str
    """cuda:0, cpu:0"""
    kind: str
    """As its maker calls it."""
    memory: int
    """Bytes that models may take of it; of a group of cores, of the host's."""
    planned: int = 0
    """Bytes of it that what is hot there was given."""
    cores: int = 0


State = Literal["starting", "hot", "parked"]


class Resident(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An instance of a version: a worker process, or one that is about to be."""

    version: str
    release: str | None = None
    """The pool of the releases that it is for; None: it is for everybody."""
    model: str
    """owner/name"""
    number: int
    """Which of the version's instances in the whole fleet, from 0."""
    state: State
    """hot: on its device. parked: in the host's memory. What is cold is not resident."""
    phase: str | None = None
    """Why it is still starting: `downloading weights`, `building`, `loading`."""
    devices: list[str] = []
    memory: int = 0
    """Resident bytes of its processes."""
    planned: int = 0
    """Bytes of the host's memory that it was given."""
    running: int = 0
    queued: int = 0
    """Jobs that wait in its version's queue, as far as its agent has heard."""
    since: datetime
    """When it began to load."""
    used_at: datetime | None = None
    """When it last had something to do."""


class Presence(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Said every few seconds: what is not heard of for a while is gone."""

    agent: str
    host: str
    pool: str
    versions: list[str]
    """Which it offers; left out while they are those that were said with this `edition`."""
    edition: str = ""
    """Of the versions: others have another. Empty: `versions` has all that there are."""
    warm: list[str]
    """Which services (`subjects.service`) have a live instance: they take jobs without a wake."""
    starting: dict[str, str] = {}
    """Services on their way there, and the phase that each is in."""
    failed: dict[str, str] = {}
    """Services that could not be set up when that was tried last, and why."""
    hardware: str = ""
    """What deployments call a host like this one: `cpu`, `gpu-l40s-2x`."""
    memory: int = 0
    """Bytes of the host's memory that models may take together."""
    used: int = 0
    """Resident bytes of all workers."""
    devices: list[Device] = []
    residents: list[Resident] = []
    counts: dict[str, int] = {}
    """What has happened since the agent started: `loads`, `parks`, `unparks`, `evictions`, `replaced`, ..."""


class Weights(Struct, frozen=True, kw_only=True):
    """A file that a training made."""

    key: str
    """Where it is in the file store."""
    sha256: str
    size: int


class Manifest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a version is made of that was pushed or trained.

    Runners find it in the file store, under `keys.manifest(version)`. One that was pushed has a `pack`; one that was
    trained has the folder of its `base`, and `weights` of its own.
    """

    owner: str
    name: str
    pack: str = ""
    """64 hex digits: the sha256 of the tar archive of its folder, kept under `keys.pack(pack)`."""
    size: int = 0
    """Bytes of that archive."""
    base: str | None = None
    """The version that was trained; it may have been trained itself."""
    weights: Weights | None = None

    @property
    def version(self) -> str:
        if self.base is None or self.weights is None:
            return version_id(self.owner, self.name, self.pack)
        return version_id(self.owner, self.name, f"{self.base} {self.weights.sha256}")


class Built(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The output of a job of kind `build`: a pushed version that can be run."""

    offer: Offer
    setup_seconds: float
    setup_log: str = ""
    """What `setup` printed, its last 100,000 characters."""
    environment: str | None = None
    """Hash of the environment that was built for it; None: the runner's own."""
    notes: list[str] = []
    """What was asked for and is not done here, such as system packages."""


class Trained(Struct, frozen=True, kw_only=True):
    """The output of a job of kind `train`."""

    output: Raw
    """What `train` returned; files stand in it as in any output."""
    weights: Weights
    """The file among them that is given to `setup`. Its key stands here as `file:<key>`."""


class Release(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a deployment wants to have run, in a queue of its own."""

    pool: str
    """Of its queue, `subjects.release`."""
    model: str
    version: str
    hardware: str = ""
    """Of the runners that may take it; empty: any."""
    min_instances: int = 0
    """How many there are in any case, in the whole fleet."""
    max_instances: int = 1


class Releases(Struct, frozen=True, kw_only=True):
    """All that are to be served, and those that still have jobs. What is not among them any more is let go."""

    at: datetime
    """When the record said so: what is older than what was heard already is not heard."""
    releases: list[Release]


class Retired(Struct, frozen=True, kw_only=True):
    """Versions that were deleted: forget them."""

    versions: list[str]


def version_id(owner: str, name: str, pack: str) -> str:
    """A version's id, of 64 hex digits, from its model's name and the sha256 of its archive, or what it is made of."""
    return hashlib.sha256(f"{owner}/{name}\n{pack}".encode()).hexdigest()


decode_offers = json.Decoder(Offers).decode
decode_presence = json.Decoder(Presence).decode
decode_manifest = json.Decoder(Manifest).decode
decode_built = json.Decoder(Built).decode
decode_trained = json.Decoder(Trained).decode
decode_releases = json.Decoder(Releases).decode
decode_retired = json.Decoder(Retired).decode
