"""How a version that is wanted is served here: from a folder of ours, or as it was pushed."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

from msgspec import Raw

from runners.errors import BadPack, FileStoreError, NotOffered, SetupFailed, Unavailable
from runners.instance import Instance, Program
from runners.life import Agent
from runners.link import Link
from runners.offers import Model
from runners.pushed import Pushed
from runners.settings import Settings
from runners.streams import Streams
from runners.warm import Warm
from schemas.models import Manifest, Offer

W = TypeVar("W", bound=Warm)


class Serving:
    def __init__(
        self,
        models: dict[str, Model],
        pushed: Pushed,
        settings: Settings,
        agent: Agent,
        link: Link,
        streams: Streams,
        changed: Callable[[], None],
    ) -> None:
        self._models = models
        """By version; more may come."""
        self._pushed = pushed
        self._settings = settings
        self._agent = agent
        self._link = link
        self._streams = streams
        self._changed = changed

    async def find(self, version: str) -> Warm | None:
        """None: it is not ours. Raises `Unavailable`."""
        if (model := self._models.get(version)) is not None:
            return self._warm(Warm, model)
        try:
            manifest = await self._pushed.packs.manifest(version)
        except (FileStoreError, BadPack) as error:
            raise Unavailable(str(error)) from error
        return await self._fetched(manifest) if manifest is not None else None

    async def _fetched(self, manifest: Manifest) -> Warm:
        held = ExitStack()
        try:
            served = self._warm(Borrowing, await self._pushed.model(manifest, held))
            served.held = held.pop_all()
        except FileStoreError as error:
            raise Unavailable(str(error)) from error
        except (NotOffered, BadPack) as error:
            stage, text = (error.stage, error.log) if isinstance(error, NotOffered) else ("fetch", "")
            refusing = self._warm(Refusing, _nothing(manifest, self._settings.pool))
            refusing.failure = SetupFailed(f"{stage}: {error}", text)
            return refusing
        else:
            return served
        finally:
            held.close()

    def _warm(self, kind: type[W], model: Model) -> W:
        return kind(model, self._settings, self._agent, self._link, self._streams, self._changed)


class Borrowing(Warm):
    """Uses a folder and an environment of the cache."""

    held: ExitStack

    async def close(self, drain: float) -> None:
        with self.held:
            await super().close(drain)


class Refusing(Warm):
    """Answers jobs with the reason why its version cannot be run here."""

    failure: SetupFailed

    async def _load(self) -> Instance:
        raise self.failure


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
