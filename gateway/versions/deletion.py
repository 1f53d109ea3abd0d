"""Deletion of versions and models: their predictions are canceled, everybody forgets them, and their files go."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final, Protocol

import structlog

from gateway.broker import Broker
from gateway.catalog.catalog import Catalog, Version
from gateway.errors import Unprocessable
from gateway.files.store import FileStore
from gateway.predictions.cancellation import VERSION_DELETED, Cancellations
from gateway.store.models import ModelStore, StoredVersionFiles
from gateway.store.predictions import PredictionStore
from schemas import keys
from schemas.models import RetiredVersions

log = structlog.get_logger("samovar.deletion")

MAX_CANCELED_AT_ONCE: Final = 200
"""Predictions that are canceled before the response; the reconciler cancels the others within seconds."""


class LocalVersions(Protocol):
    """The versions that runners have in folders of their own."""

    def host_with_folder(self, version: str) -> str | None: ...


class VersionDeleter:
    """Deletes versions and models with all that belongs to them. Used by the routes of models."""

    def __init__(
        self,
        *,
        predictions: PredictionStore,
        models: ModelStore,
        catalog: Catalog,
        files: FileStore,
        broker: Broker,
        cancels: Cancellations,
        fleet: LocalVersions,
    ) -> None:
        self._predictions = predictions
        self._models = models
        self._catalog = catalog
        self._files = files
        self._broker = broker
        self._cancels = cancels
        self._fleet = fleet

    async def delete_version(self, version: Version) -> None:
        """Delete a version.

        Raises `Unprocessable` for one that a runner has in a folder of its own, or that another was trained from.
        """
        self._refuse_local([version.id])
        files = await self._models.delete_version(version.owner, version.name, version.id)
        await self._clean_up(files or {version.id: StoredVersionFiles(None, None)}, version.model, None)

    async def delete_model(self, owner: str, name: str) -> None:
        """Delete a model with all its versions and unfinished pushes. Raises `Unprocessable`."""
        self._refuse_local(await self._models.version_ids(owner, name))
        files = await self._models.delete_model(owner, name)
        await self._clean_up(files, f"{owner}/{name}", f"{owner}/{name}")

    def _refuse_local(self, versions: Iterable[str]) -> None:
        for id in versions:
            if (host := self._fleet.host_with_folder(id)) is not None:
                raise Unprocessable(
                    f"Version {id[:12]} comes from a folder of the runner on {host}, which would offer it again. "
                    "Take the folder from its SAMOVAR_MODELS, and restart it."
                )

    async def _clean_up(self, files: Mapping[str, StoredVersionFiles], model: str, deleted_model: str | None) -> None:
        versions = list(files)
        self._catalog.forget(versions)
        await self._broker.announce_deletion(RetiredVersions(versions=versions))
        ids = await self._predictions.request_cancel_all(versions, deleted_model, MAX_CANCELED_AT_ONCE)
        await asyncio.gather(*(self._cancels.cancel(id, VERSION_DELETED) for id in ids))
        for version, (archive, weights) in files.items():
            await self._broker.discard_jobs(model, version)
            if archive is not None:
                await self._remove_archive(version, archive)
            if weights is not None:
                await self._remove_weights(version, weights)
        log.info("deleted", model=model, versions=versions)

    async def _remove_weights(self, version: str, key: str) -> None:
        """Remove a version's weights and manifest, unless another training has made it again."""
        async with self._models.lock(version) as connection:
            if not await self._models.versions_in_use([version], connection):
                await self._files.remove(keys.manifest(version))
            if not await self._models.weights_in_use([key], connection):
                await self._files.remove(key)

    async def _remove_archive(self, version: str, digest: str) -> None:
        """Remove a version's archive and manifest, unless it has been pushed again."""
        async with self._models.lock(digest) as connection:
            if not await self._models.versions_in_use([version], connection):
                await self._files.remove(keys.manifest(version))
            if not await self._models.archives_in_use([digest], connection):
                await self._files.remove(keys.archive(digest))
