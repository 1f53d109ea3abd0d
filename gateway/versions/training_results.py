"""Results of trainings: the end of one becomes a version of its destination, once, before anybody is told of it."""

from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, NamedTuple, Protocol

import structlog
from asyncpg.pool import PoolConnectionProxy as Connection
from msgspec import json

from gateway.catalog.catalog import Catalog
from gateway.predictions.training_output import trained_manifest
from gateway.versions.push_results import settle_each
from schemas import keys
from schemas.models import Manifest
from schemas.prediction import FINAL, Prediction, Status, reject_result

log = structlog.get_logger("samovar.training_results")

UNUSABLE_OUTPUT: Final = "The runner's output names no weights. See its log and the gateway's."


class TrainingOutcome(NamedTuple):
    """The outcome of a training that has succeeded."""

    is_decided: bool
    """Whether its version exists, existed, or is known to be impossible."""
    error: str | None
    """Why its version could not be made."""


class TrainedVersions(Protocol):
    """The creation of versions from trainings in the database."""

    def lock(self, key: str) -> AbstractAsyncContextManager[Connection]: ...
    async def training_outcome(self, training: str) -> tuple[bool, str | None]: ...
    async def create_trained_version(
        self, training: str, manifest: Manifest, logs: str, connection: Connection
    ) -> tuple[bool, str | None]: ...


class PredictionRecord(Protocol):
    """The rows of trainings."""

    async def get(self, id: str, account: int | None = None) -> Prediction | None: ...
    def finish(self, p: Prediction) -> Awaitable[str | None]: ...
    async def find_without_version(self, ids: Sequence[str]) -> set[str]: ...


class FileWriter(Protocol):
    """The file store, to write to."""

    async def write(self, key: str, content: bytes) -> None: ...


class TrainingResults:
    """Makes versions of trainings that have succeeded.

    Like `PushResults` for pushes: whoever is about to tell of a training's end settles it first.
    """

    def __init__(
        self, record: PredictionRecord, versions: TrainedVersions, catalog: Catalog, files: FileWriter
    ) -> None:
        self._record = record
        self._versions = versions
        self._catalog = catalog
        self._files = files

    async def on_recorded(self, id: str) -> None:
        """Make the version of a training whose end was just recorded."""
        p = await self._record.get(id)
        if p is not None:
            await self.settle(p)

    async def settle(self, p: Prediction) -> Prediction:
        """Return a training as it may be shown: its end is recorded, and its version exists if it succeeded.

        Raises `Unavailable` and `NoFiles`.
        """
        if p.status in FINAL:
            await self._record.finish(p)
        if p.status is not Status.SUCCEEDED or p.data_removed:
            return p
        manifest = trained_manifest(p)
        if manifest is None:
            log.error("training_output_unusable", id=p.id, version=p.version)
            return reject_result(p, UNUSABLE_OUTPUT)
        outcome = TrainingOutcome(*await self._versions.training_outcome(p.id))
        error = outcome.error if outcome.is_decided else await self._create_version(p, manifest)
        return reject_result(p, error) if error else p

    async def settle_page(self, ps: Sequence[Prediction]) -> list[Prediction]:
        """Settle the trainings of a page, without a query for each whose version was made long ago."""
        succeeded = [p.id for p in ps if p.status is Status.SUCCEEDED]
        without_version = await self._record.find_without_version(succeeded) if succeeded else set[str]()
        return [await self.settle(p) if p.id in without_version else p for p in ps]

    def follow(self, states: AsyncGenerator[Prediction]) -> AsyncGenerator[Prediction]:
        """Settle each state of a training, as in `settle_each`."""
        return settle_each(states, self.settle)

    async def _create_version(self, p: Prediction, manifest: Manifest) -> str | None:
        """Create the version and what runners need of it; return why that cannot be, or None."""
        async with self._versions.lock(manifest.version) as connection:
            is_new, error = await self._versions.create_trained_version(p.id, manifest, p.logs, connection)
            if is_new:
                await self._files.write(keys.manifest(manifest.version), json.encode(manifest))
        if error is None:
            self._catalog.forget([manifest.version])
            log.info("version_trained", model=p.destination, version=manifest.version, training=p.id)
        else:
            log.warning("version_not_created", model=p.destination, training=p.id, reason=error)
        return error
