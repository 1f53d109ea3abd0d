"""How a version that is wanted is served here: from a folder of ours, or as it was pushed or trained."""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from msgspec import Raw

from runners.errors import BadPack, FileStoreError, NotOffered, SetupFailed, Unavailable
from runners.instances.instance import Shared, Warm
from runners.placement.memory_profiles import Hints
from runners.process.worker_process import Instance, Program
from runners.versions.introspection import Model
from runners.versions.pushed import Pushed
from runners.versions.resolver import Library
from schemas import subjects
from schemas.models import Manifest, Offer


class Serving:
    def __init__(self, models: dict[str, Model], library: Library, pushed: Pushed, shared: Shared) -> None:
        self._models = models
        """By version; more may come."""
        self._library = library
        self._pushed = pushed
        self._shared = shared

    async def ours(self, version: str) -> bool:
        """Whether it can be had here. Raises `Unavailable`."""
        try:
            return await self._library.has(version)
        except (FileStoreError, BadPack) as error:
            raise Unavailable(str(error)) from error

    def hints(self) -> dict[str, Hints]:
        """What the models of our own folders say of themselves."""
        return {version: model.hints for version, model in self._models.items()}

    async def find(self, service: str, say: Callable[[str], None]) -> Warm | None:
        """None: it is not ours. `say` hears what it waits for. Raises `Unavailable`."""
        version, pool = subjects.version_of(service), subjects.pool_of(service)
        if (model := self._models.get(version)) is not None:
            return Warm(model, self._shared, pool)
        manifest = await self._manifest(version)
        return await self._fetched(manifest, pool, say) if manifest is not None else None

    async def _manifest(self, version: str) -> Manifest | None:
        try:
            return await self._pushed.packs.manifest(version)
        except (FileStoreError, BadPack) as error:
            raise Unavailable(str(error)) from error

    async def _fetched(self, manifest: Manifest, pool: str | None, say: Callable[[str], None]) -> Warm:
        held = ExitStack()
        try:
            served = Borrowing(await self._library.made(manifest, held, say), self._shared, pool)
            served.held = held.pop_all()
        except FileStoreError as error:
            raise Unavailable(str(error)) from error
        except (NotOffered, BadPack) as error:
            stage, text = (error.stage, error.log) if isinstance(error, NotOffered) else ("fetch", "")
            refusing = Refusing(_nothing(manifest, self._shared.settings.pool), self._shared, pool)
            refusing.reason = SetupFailed(f"{stage}: {error}", text)
            return refusing
        else:
            return served
        finally:
            held.close()


class Borrowing(Warm):
    """Uses a folder and an environment of the cache."""

    held: ExitStack

    async def close(self, drain: float, hurry: asyncio.Event) -> None:
        with self.held:
            await super().close(drain, hurry)


class Refusing(Warm):
    """Answers jobs with the reason why its version cannot be run here."""

    reason: SetupFailed

    async def _load(self) -> Instance:
        raise self.reason


def _nothing(manifest: Manifest, pool: str) -> Model:
    """A name for what cannot be loaded."""
    offer = Offer(
        owner=manifest.owner,
        name=manifest.name,
        version=manifest.version,
        openapi_schema=Raw(b"{}"),
        cog_version="",
        pool=pool,
    )
    return Model(offer=offer, program=Program(folder=Path(), ref="", environment={}))
