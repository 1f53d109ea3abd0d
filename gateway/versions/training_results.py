"""The end of a training becomes a version of its destination, once, before anybody is told of it."""

from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, NamedTuple, Protocol

import structlog
from asyncpg.pool import PoolConnectionProxy as Connection
from msgspec import json, structs

from gateway.catalog.catalog import Catalog
from gateway.predictions.training_output import manifest_of
from gateway.versions.push_results import following
from schemas import keys
from schemas.models import Manifest
from schemas.prediction import FINAL, Prediction, Status

log = structlog.get_logger("samovar.trained")

MISFIT: Final = "The runner's answer does not speak of weights. Its log and the gateway's say more."


class Outcome(NamedTuple):
    """Of a training that has succeeded."""

    made: bool
    """It was decided: its version is there, was there, or cannot be made."""
    error: str | None
    """Why it could not be made."""


class Rows(Protocol):
    def holding(self, pack: str) -> AbstractAsyncContextManager[Connection]: ...
    async def outcome(self, training: str) -> tuple[bool, str | None]: ...
    async def trained(
        self, training: str, manifest: Manifest, logs: str, on: Connection
    ) -> tuple[bool, str | None]: ...


class Record(Protocol):
    async def get(self, id: str, account: int | None = None) -> Prediction | None: ...
    def finish(self, p: Prediction) -> Awaitable[str | None]: ...
    async def unmade(self, ids: Sequence[str]) -> set[str]: ...


class Writing(Protocol):
    async def write(self, key: str, content: bytes) -> None: ...


class Results:
    def __init__(self, record: Record, rows: Rows, catalog: Catalog, files: Writing) -> None:
        self._record = record
        self._rows = rows
        self._catalog = catalog
        self._files = files

    async def recorded(self, id: str) -> None:
        """The end of a training is in the record."""
        p = await self._record.get(id)
        if p is not None:
            await self.settled(p)

    async def settled(self, p: Prediction) -> Prediction:
        """A training as it may be told: its end is in the record, and its version is there if it succeeded.

        Raises `Unavailable` and `NoFiles`.
        """
        if p.status in FINAL:
            await self._record.finish(p)
        if p.status is not Status.SUCCEEDED or p.data_removed:
            return p
        manifest = manifest_of(p)
        if manifest is None:
            log.error("training_not_understood", id=p.id, version=p.version)
            return structs.replace(p, status=Status.FAILED, error=MISFIT)
        outcome = Outcome(*await self._rows.outcome(p.id))
        error = outcome.error if outcome.made else await self._make(p, manifest)
        return structs.replace(p, status=Status.FAILED, error=error) if error else p

    async def page(self, ps: Sequence[Prediction]) -> list[Prediction]:
        """The same of a list; those whose versions were made long ago are not asked for one by one."""
        ended = [p.id for p in ps if p.status is Status.SUCCEEDED]
        unmade = await self._record.unmade(ended) if ended else set[str]()
        return [await self.settled(p) if p.id in unmade else p for p in ps]

    def follow(self, states: AsyncGenerator[Prediction]) -> AsyncGenerator[Prediction]:
        return following(states, self.settled)

    async def _make(self, p: Prediction, manifest: Manifest) -> str | None:
        """The version, and what runners need of it; why there is none, if that cannot be."""
        async with self._rows.holding(manifest.version) as on:
            new, error = await self._rows.trained(p.id, manifest, p.logs, on)
            if new:
                await self._files.write(keys.manifest(manifest.version), json.encode(manifest))
        if error is None:
            self._catalog.forget([manifest.version])
            log.info("version_trained", model=p.destination, version=manifest.version, training=p.id)
        else:
            log.warning("version_not_made", model=p.destination, training=p.id, reason=error)
        return error
