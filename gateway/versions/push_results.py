"""The end of a push becomes a version, once, before anybody is told of it."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Final, Protocol

import structlog
from msgspec import DecodeError, structs

from gateway.catalog.catalog import Catalog
from gateway.errors import NoFiles, Unavailable
from schemas.models import Built, Manifest, decode_built, decode_manifest
from schemas.prediction import FINAL, Prediction, Status

log = structlog.get_logger("samovar.builds")

MISFIT: Final = "The runner's answer does not describe this version. Its log and the gateway's say more."


class Rows(Protocol):
    async def built(self, push: str, manifest: Manifest, built: Built, logs: str) -> bool: ...


class Record(Protocol):
    async def get(self, id: str, account: int | None = None) -> Prediction | None: ...
    def finish(self, p: Prediction) -> Awaitable[str | None]: ...


class Builds:
    def __init__(self, record: Record, rows: Rows, catalog: Catalog) -> None:
        self._record = record
        self._rows = rows
        self._catalog = catalog

    async def recorded(self, id: str) -> None:
        """The end of a push is in the record."""
        p = await self._record.get(id)
        if p is not None:
            await self.settled(p)

    async def settled(self, p: Prediction) -> Prediction:
        """A push as it may be told: its end is in the record, and its version is there if it succeeded.

        So that it can be pushed again, or its version be deleted, at once. Raises `Unavailable`.
        """
        if p.status in FINAL:
            await self._record.finish(p)
        if p.status is not Status.SUCCEEDED:
            return p
        manifest, built = decode_manifest(bytes(p.input)), answer(p)
        if built is None:
            log.error("push_not_understood", id=p.id, version=p.version)
            return structs.replace(p, status=Status.FAILED, error=MISFIT)
        if await self._rows.built(p.id, manifest, built, p.logs):
            self._catalog.forget([p.version])
            log.info("version_made", model=p.model, version=p.version, push=p.id)
        return p

    def follow(self, states: AsyncGenerator[Prediction]) -> AsyncGenerator[Prediction]:
        return following(states, self.settled)


async def following(
    states: AsyncGenerator[Prediction], settled: Callable[[Prediction], Awaitable[Prediction]]
) -> AsyncGenerator[Prediction]:
    """Each state as it may be told. Ends early when the record is away just then: who follows comes back."""
    async with aclosing(states):
        async for p in states:
            try:
                yield await settled(p)
            except (Unavailable, NoFiles) as error:
                log.info("end_not_told_yet", id=p.id, reason=str(error))
                return


def answer(p: Prediction) -> Built | None:
    """What a runner said of the version that it built; None if that is not the version that was pushed."""
    try:
        built = decode_built(bytes(p.output or b""))
        manifest = decode_manifest(bytes(p.input))
    except (DecodeError, ValueError):
        return None
    offer = built.offer
    fits = (offer.owner, offer.name, offer.version) == (manifest.owner, manifest.name, p.version)
    return built if fits else None
