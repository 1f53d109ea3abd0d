"""Results of pushes: the end of a push becomes a version, once, before anybody is told of it."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Final, Protocol

import structlog
from msgspec import DecodeError

from gateway.catalog.catalog import Catalog
from gateway.errors import FileStoreUnavailable, Unavailable
from schemas.models import BuildResult, Manifest, decode_build_result, decode_manifest
from schemas.prediction import FINAL, Prediction, Status, reject_result

log = structlog.get_logger("samovar.push_results")

UNUSABLE_OUTPUT: Final = "The runner's output does not describe this version. See its log and the gateway's."


class PushedVersions(Protocol):
    """The creation of versions from pushes in the database."""

    async def create_pushed_version(self, push: str, manifest: Manifest, built: BuildResult, logs: str) -> bool: ...


class PredictionRecord(Protocol):
    """The rows of pushes."""

    async def get(self, id: str, account: int | None = None) -> Prediction | None: ...
    def finish(self, p: Prediction) -> Awaitable[str | None]: ...


class PushResults:
    """Makes versions of pushes that have succeeded.

    It owns nothing: whoever is about to tell of a push's end settles it first, and settling twice does no harm.
    """

    def __init__(self, record: PredictionRecord, versions: PushedVersions, catalog: Catalog) -> None:
        self._record = record
        self._versions = versions
        self._catalog = catalog

    async def on_recorded(self, id: str) -> None:
        """Make the version of a push whose end was just recorded."""
        p = await self._record.get(id)
        if p is not None:
            await self.settle(p)

    async def settle(self, p: Prediction) -> Prediction:
        """Return a push as it may be shown: its end is recorded, and its version exists if it succeeded.

        So it can be pushed again, or its version be deleted, at once. Raises `Unavailable`.
        """
        if p.status in FINAL:
            await self._record.finish(p)
        if p.status is not Status.SUCCEEDED:
            return p
        manifest, built = decode_manifest(bytes(p.input)), parse_build_output(p)
        if built is None:
            log.error("push_output_unusable", id=p.id, version=p.version)
            return reject_result(p, UNUSABLE_OUTPUT)
        if await self._versions.create_pushed_version(p.id, manifest, built, p.logs):
            self._catalog.forget([p.version])
            log.info("version_created", model=p.model, version=p.version, push=p.id)
        return p

    def follow(self, states: AsyncGenerator[Prediction]) -> AsyncGenerator[Prediction]:
        """Settle each state of a push, as in `settle_each`."""
        return settle_each(states, self.settle)


async def settle_each(
    states: AsyncGenerator[Prediction], settle: Callable[[Prediction], Awaitable[Prediction]]
) -> AsyncGenerator[Prediction]:
    """Yield each state as it may be shown.

    Ends early when the database or the file store does not answer: whoever follows comes back.
    """
    async with aclosing(states):
        async for p in states:
            try:
                yield await settle(p)
            except (Unavailable, FileStoreUnavailable) as error:
                log.info("end_not_settled", id=p.id, reason=str(error))
                return


def parse_build_output(p: Prediction) -> BuildResult | None:
    """Return what a runner built, or None if that is not the version that was pushed."""
    try:
        built = decode_build_result(bytes(p.output or b""))
        manifest = decode_manifest(bytes(p.input))
    except (DecodeError, ValueError):
        return None
    version = built.offer
    is_pushed_version = (version.owner, version.name, version.version) == (manifest.owner, manifest.name, p.version)
    return built if is_pushed_version else None
