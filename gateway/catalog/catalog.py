"""The models and versions that can be run, looked up once and kept."""

import re
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Final, Protocol

from msgspec import Raw, Struct, json, structs

from gateway.catalog.input_schema import Validator
from gateway.errors import NotFound, UnknownVersion
from gateway.store.accounts import Account
from gateway.store.models import Model
from schemas import subjects
from schemas.models import Offer

TRAINING: Final = "TrainingInput"
HEX: Final = re.compile(r"[0-9a-f]{64}")
NAME: Final = re.compile(r"([^/\s\0]{1,255})/([^/:\s\0]{1,255})")


class Version(Struct, frozen=True, kw_only=True):
    id: str
    owner: str
    name: str
    pool: str
    cog_version: str
    openapi_schema: Raw
    created_at: datetime
    validator: Validator
    streamable: bool
    labels: dict[str, str]
    """What it says of itself, such as openai: chat."""
    files: bool
    """Its output is a file, or files."""
    pushed: bool
    """Any runner can fetch it; else only those can run it that have it in a folder of their own."""
    trainer: Validator | None = None
    """Of the inputs of its `train`; None: it cannot be trained."""
    base: str | None = None
    """Of a trained version: the one that was trained."""
    root: str | None = None
    """Of a trained version: the one whose folder it runs, which nobody trained."""

    @property
    def model(self) -> str:
        return f"{self.owner}/{self.name}"

    @property
    def service(self) -> str:
        return subjects.service(self.pool, self.id)


class Rows(Protocol):
    """What the catalogue needs of the record."""

    async def version(self, id: str) -> dict[str, Any] | None: ...
    async def model(self, owner: str, name: str) -> Model | None: ...
    async def offer(self, offer: Offer) -> None: ...


class Catalog:
    """Versions never change, so they are kept until they are deleted; models are asked for again.

    That is after `fresh` seconds: another gateway may have changed one, or have heard of a newer version.
    """

    def __init__(self, rows: Rows, clock: Callable[[], float], fresh: float = 2.0) -> None:
        self._rows = rows
        self._clock = clock
        self._fresh = fresh
        self._versions: dict[str, Version] = {}
        self._models: dict[tuple[str, str], tuple[float, Model]] = {}
        self._forgotten = 0

    def known(self, id: str) -> bool:
        return id in self._versions

    async def offered(self, offer: Offer) -> None:
        await self._rows.offer(offer)
        self._models.pop((offer.owner, offer.name), None)
        await self.version(offer.version)

    def forget(self, ids: Iterable[str] | None = None) -> None:
        """Versions that were deleted; all, when some may have been."""
        self._forgotten += 1
        for id in list(self._versions) if ids is None else ids:
            self._versions.pop(id, None)
        self._models.clear()

    async def version(self, id: str) -> Version:
        """Raises `UnknownVersion`."""
        found = self._versions.get(id)
        if found is None:
            asked = self._forgotten
            row = await self._rows.version(id)
            if row is None:
                raise UnknownVersion
            found = await self._rooted(as_version(row))
            if asked == self._forgotten:  # else it may have been deleted since the row was read
                self._versions[id] = found
        return found

    async def _rooted(self, version: Version) -> Version:
        """A trained version can be run by whoever can run the folder that it was trained from."""
        if version.base is None:
            return version
        base = await self.version(version.base)
        return structs.replace(version, root=base.root or base.id, pushed=base.pushed)

    async def kept(self, id: str) -> Version | None:
        """None for a version that is not there any more."""
        try:
            return await self.version(id)
        except UnknownVersion:
            return None

    async def model(self, owner: str, name: str, account: Account) -> Model:
        """Raises `NotFound`, also for a private one of somebody else."""
        at, found = self._models.get((owner, name), (0.0, None))
        if found is None or self._clock() - at >= self._fresh:
            asked = self._forgotten
            found = await self._rows.model(owner, name)
            if found is not None and asked == self._forgotten:
                self._models[owner, name] = (self._clock(), found)
        if found is None or not visible(found, account):
            raise NotFound
        return found

    async def latest(self, owner: str, name: str, account: Account) -> Version:
        """Raises `NotFound` for a model that is not there, is not to be seen, or has no version."""
        model = await self.model(owner, name, account)
        if model.latest_version is None:
            raise NotFound("The model has no version yet: push one, or train one.")
        return await self.version(model.latest_version)

    async def refer(self, reference: str, account: Account) -> Version:
        """What `version` in a request means: an id, `owner/name:id` or `owner/name`. Raises `UnknownVersion`."""
        name, colon, id = reference.partition(":")
        parts = NAME.fullmatch(name)
        if (parts is None or colon) and not HEX.fullmatch(id if colon else reference):
            raise UnknownVersion
        try:
            if parts is not None and not colon:
                return await self.latest(parts[1], parts[2], account)
            version = await self.version(id or reference)
            await self.model(version.owner, version.name, account)
        except NotFound as error:
            raise UnknownVersion from error
        if parts is not None and (version.owner, version.name) != (parts[1], parts[2]):
            raise UnknownVersion
        return version


def visible(model: Model, account: Account) -> bool:
    """Private models are for their owner, and for who looks after the installation."""
    return model.visibility == "public" or model.owner == account.username or "admin" in account.scopes


def as_version(row: dict[str, Any]) -> Version:
    schema = row["openapi_schema"]
    document = json.decode(schema)
    schemas = document.get("components", {}).get("schemas", {})
    output = schemas.get("Output", {})
    iterator = output.get("x-cog-array-type") == "iterator"
    item = output.get("items", output) if output.get("type") == "array" else output
    return Version(
        **{name: row[name] for name in ("id", "owner", "name", "pool", "cog_version", "created_at")},
        openapi_schema=Raw(schema.encode()),
        validator=Validator(document),
        labels=json.decode(row["labels"], type=dict[str, str]),
        streamable=iterator or output.get("type") == "string",
        files=item.get("format") == "uri",
        pushed=row["pack"] is not None,
        trainer=Validator(document, TRAINING) if TRAINING in schemas else None,
        base=row["base"],
    )
