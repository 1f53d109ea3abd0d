"""The catalog: the models and versions that can be run, looked up once and cached."""

import re
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Final, Protocol

from msgspec import Raw, Struct, json, structs

from gateway.catalog.input_schema import InputValidator
from gateway.errors import NotFound, UnknownVersion
from gateway.store.accounts import Account
from gateway.store.models import Model
from schemas import subjects
from schemas.models import VersionInfo

TRAINING_INPUT: Final = "TrainingInput"
VERSION_ID: Final = re.compile(r"[0-9a-f]{64}")
MODEL_NAME: Final = re.compile(r"([^/\s\0]{1,255})/([^/:\s\0]{1,255})")


class Version(Struct, frozen=True, kw_only=True):
    """A version that can be run, with what its OpenAPI schema says of it."""

    id: str
    owner: str
    name: str
    pool: str
    cog_version: str
    openapi_schema: Raw
    created_at: datetime
    validator: InputValidator
    is_streamable: bool
    labels: dict[str, str]
    """Labels that its author gave it, such as openai: chat."""
    has_file_output: bool
    """Whether its output is a file, or files."""
    is_pushed: bool
    """Whether any runner can fetch it; otherwise it runs only where it is in a folder of the runner's own."""
    trainer: InputValidator | None = None
    """Validates inputs of its `train`; None if it cannot be trained."""
    base: str | None = None
    """The version that this one was trained from, if any."""
    root: str | None = None
    """The untrained version whose folder a trained one runs."""

    @property
    def model(self) -> str:
        """The version's model as `owner/name`."""
        return f"{self.owner}/{self.name}"

    @property
    def service(self) -> str:
        """The service of this version outside of deployments, as runners name it."""
        return subjects.service(self.pool, self.id)


class ModelSource(Protocol):
    """The rows of models and versions that the catalog reads and writes."""

    async def get_version(self, id: str) -> dict[str, Any] | None: ...
    async def get(self, owner: str, name: str) -> Model | None: ...
    async def register_version(self, version: VersionInfo) -> None: ...


class Catalog:
    """The models and versions of the database, cached.

    Versions never change, so they stay until they are deleted. Models are read again after `max_age` seconds: another
    gateway may have changed one, or learned of a newer version. Used by every route and service that runs a model.
    """

    def __init__(self, models: ModelSource, clock: Callable[[], float], max_age: float = 2.0) -> None:
        self._source = models
        self._clock = clock
        self._max_age = max_age
        self._versions: dict[str, Version] = {}
        self._models: dict[tuple[str, str], tuple[float, Model]] = {}
        self._generation = 0

    def is_known(self, id: str) -> bool:
        """Return whether this version is cached."""
        return id in self._versions

    async def register(self, offer: VersionInfo) -> None:
        """Record a version that a runner has, and cache it."""
        await self._source.register_version(offer)
        self._models.pop((offer.owner, offer.name), None)
        await self.get_version(offer.version)

    def forget(self, ids: Iterable[str] | None = None) -> None:
        """Drop deleted versions from the cache, or all when any may have been deleted."""
        self._generation += 1
        for id in list(self._versions) if ids is None else ids:
            self._versions.pop(id, None)
        self._models.clear()

    async def get_version(self, id: str) -> Version:
        """Return a version by its id. Raises `UnknownVersion`."""
        version = self._versions.get(id)
        if version is None:
            generation = self._generation
            row = await self._source.get_version(id)
            if row is None:
                raise UnknownVersion
            version = await self._with_root(as_version(row))
            if generation == self._generation:  # else it may have been deleted since the row was read
                self._versions[id] = version
        return version

    async def _with_root(self, version: Version) -> Version:
        """Complete a trained version: whoever can run the folder that it was trained from can run it."""
        if version.base is None:
            return version
        base = await self.get_version(version.base)
        return structs.replace(version, root=base.root or base.id, is_pushed=base.is_pushed)

    async def find_version(self, id: str) -> Version | None:
        """Return a version by its id, or None if it is gone."""
        try:
            return await self.get_version(id)
        except UnknownVersion:
            return None

    async def get_model(self, owner: str, name: str, account: Account) -> Model:
        """Return a model that the account may see. Raises `NotFound`, also for somebody else's private model."""
        read_at, model = self._models.get((owner, name), (0.0, None))
        if model is None or self._clock() - read_at >= self._max_age:
            generation = self._generation
            model = await self._source.get(owner, name)
            if model is not None and generation == self._generation:
                self._models[owner, name] = (self._clock(), model)
        if model is None or not is_visible(model, account):
            raise NotFound
        return model

    async def latest_version(self, owner: str, name: str, account: Account) -> Version:
        """Return the latest version of a model.

        Raises `NotFound` for a model that does not exist, that the account may not see, or that has no version.
        """
        model = await self.get_model(owner, name, account)
        if model.latest_version is None:
            raise NotFound("The model has no version yet: push one, or train one.")
        return await self.get_version(model.latest_version)

    async def resolve(self, reference: str, account: Account) -> Version:
        """Return the version that `version` in a request means: an id, `owner/name:id` or `owner/name`.

        Raises `UnknownVersion`.
        """
        name, colon, id = reference.partition(":")
        parts = MODEL_NAME.fullmatch(name)
        if (parts is None or colon) and not VERSION_ID.fullmatch(id if colon else reference):
            raise UnknownVersion
        try:
            if parts is not None and not colon:
                return await self.latest_version(parts[1], parts[2], account)
            version = await self.get_version(id or reference)
            await self.get_model(version.owner, version.name, account)
        except NotFound as error:
            raise UnknownVersion from error
        if parts is not None and (version.owner, version.name) != (parts[1], parts[2]):
            raise UnknownVersion
        return version


def is_visible(model: Model, account: Account) -> bool:
    """Return whether the account may see the model: private ones are for their owner and for administrators."""
    return model.visibility == "public" or model.owner == account.username or "admin" in account.scopes


def as_version(row: dict[str, Any]) -> Version:
    """Build a version from its row."""
    schema = row["openapi_schema"]
    document = json.decode(schema)
    schemas = document.get("components", {}).get("schemas", {})
    output = schemas.get("Output", {})
    iterator = output.get("x-cog-array-type") == "iterator"
    item = output.get("items", output) if output.get("type") == "array" else output
    return Version(
        **{name: row[name] for name in ("id", "owner", "name", "pool", "cog_version", "created_at")},
        openapi_schema=Raw(schema.encode()),
        validator=InputValidator(document),
        labels=json.decode(row["labels"], type=dict[str, str]),
        is_streamable=iterator or output.get("type") == "string",
        has_file_output=item.get("format") == "uri",
        is_pushed=row["pack"] is not None,
        trainer=InputValidator(document, TRAINING_INPUT) if TRAINING_INPUT in schemas else None,
        base=row["base"],
    )
