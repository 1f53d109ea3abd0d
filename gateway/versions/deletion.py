"""Deleting versions and models: their predictions end, everybody forgets them, and their files go."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final, Protocol

import structlog

from gateway.broker import Broker
from gateway.catalog.catalog import Catalog, Version
from gateway.errors import Unprocessable
from gateway.files.store import Files
from gateway.predictions.cancellation import DELETED, Cancels
from gateway.store.models import Left, Models
from gateway.store.predictions import Predictions
from schemas import keys
from schemas.models import Retired

log = structlog.get_logger("samovar.deleting")

AT_ONCE: Final = 200
"""Predictions that are ended before the answer; the reconciler ends the others in the next seconds."""


class Fleet(Protocol):
    def offering(self, version: str) -> str | None: ...


class Deleting:
    def __init__(
        self,
        *,
        record: Predictions,
        models: Models,
        catalog: Catalog,
        files: Files,
        broker: Broker,
        cancels: Cancels,
        fleet: Fleet,
    ) -> None:
        self._record = record
        self._models = models
        self._catalog = catalog
        self._files = files
        self._broker = broker
        self._cancels = cancels
        self._fleet = fleet

    async def version(self, version: Version) -> None:
        """Raises `Unprocessable` for one that a runner has in a folder of its own, or that another was trained from."""
        self._refuse_offered([version.id])
        left = await self._models.delete_version(version.owner, version.name, version.id)
        await self._gone(left or {version.id: Left(None, None)}, version.model, None)

    async def model(self, owner: str, name: str) -> None:
        """With all its versions, and the pushes that are under way. Raises `Unprocessable`."""
        self._refuse_offered(await self._models.version_ids(owner, name))
        left = await self._models.delete_model(owner, name)
        await self._gone(left, f"{owner}/{name}", f"{owner}/{name}")

    def _refuse_offered(self, versions: Iterable[str]) -> None:
        for id in versions:
            if (host := self._fleet.offering(id)) is not None:
                raise Unprocessable(
                    f"Version {id[:12]} comes from a folder of the runner on {host}, which would offer it again. "
                    "Take the folder from its SAMOVAR_MODELS, and restart it."
                )

    async def _gone(self, left: Mapping[str, Left], model: str, pushes_of: str | None) -> None:
        versions = list(left)
        self._catalog.forget(versions)
        await self._broker.retire(Retired(versions=versions))
        open = await self._record.wish_all_canceled(versions, pushes_of, AT_ONCE)
        await asyncio.gather(*(self._cancels.cancel(id, DELETED) for id in open))
        for version, (pack, weights) in left.items():
            await self._broker.discard_jobs(model, version)
            if pack is not None:
                await self._drop(version, pack)
            if weights is not None:
                await self._drop_weights(version, weights)
        log.info("deleted", model=model, versions=versions)

    async def _drop_weights(self, version: str, key: str) -> None:
        """Unless another training has made the same version again."""
        async with self._models.holding(version) as on:
            if not await self._models.versions_needed([version], on):
                await self._files.remove(keys.manifest(version))
            if not await self._models.weights_needed([key], on):
                await self._files.remove(key)

    async def _drop(self, version: str, pack: str) -> None:
        """Unless it has been pushed again."""
        async with self._models.holding(pack) as on:
            if not await self._models.versions_needed([version], on):
                await self._files.remove(keys.manifest(version))
            if not await self._models.packs_needed([pack], on):
                await self._files.remove(keys.pack(pack))
