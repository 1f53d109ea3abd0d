"""Pushed versions, made ready to be loaded on this host."""

import asyncio
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from runners.errors import BadFolder, BadPack, EnvironmentFailed, FileStoreError, NotOffered, place
from runners.settings import Settings
from runners.versions import disk_cache, introspection, model_folder
from runners.versions.archive_cache import Packs
from runners.versions.environments import Environment, Environments
from runners.versions.introspection import Model
from runners.versions.model_folder import Folder
from schemas import phases
from schemas.models import Manifest, Weights


class Pushed:
    def __init__(self, packs: Packs, environments: Environments, settings: Settings) -> None:
        self.packs = packs
        self.environments = environments
        self._settings = settings

    async def model(self, manifest: Manifest, held: ExitStack, say: Callable[[str], None]) -> Model:
        """What it needs stays until `held` is closed; `say` hears what is being done.

        Raises `FileStoreError`, `BadPack` and `NotOffered`.
        """
        say(phases.DOWNLOADING)
        path = await self.fetched(manifest, held)
        folder = await self.read(manifest, path)
        say(phases.BUILDING)
        environment = await self.environment(folder, held, lambda _: None)
        return await introspection.model_of(folder, environment, self._settings)

    async def fetched(self, manifest: Manifest, held: ExitStack) -> Path:
        path = await self.packs.hold(manifest)
        held.callback(self.packs.release, manifest)
        await self.tidy()
        return path

    async def weights(self, weights: Weights, held: ExitStack) -> Path:
        path = await self.packs.hold_weights(weights)
        held.callback(self.packs.release_weights, weights)
        await self.tidy()
        return path

    async def read(self, manifest: Manifest, path: Path) -> Folder:
        try:
            return await asyncio.to_thread(
                model_folder.read, path, manifest.owner, manifest.name, version=manifest.version
            )
        except BadFolder as error:
            # Where it lies on this host is nobody's business.
            reason = error.reason.removeprefix(f"{path}/{error.file}: ").replace(f"{path}/", "")
            raise NotOffered(
                f"{place(error.file, error.line)}{reason}", stage="config", file=error.file, line=error.line
            ) from error

    async def environment(self, folder: Folder, held: ExitStack, say: Callable[[str], None]) -> Environment:
        try:
            environment = await self.environments.ensure(folder.requirements, say)
        except EnvironmentFailed as error:
            raise NotOffered(
                f"{place(error.file, error.line)}{error}",
                stage="environment",
                file=error.file,
                line=error.line,
                log=error.log,
            ) from error
        held.callback(self.environments.release, environment)
        await self.tidy()
        return environment

    async def tidy(self) -> None:
        """Make room, should there be too little."""
        shelves = (self.packs.shelf, self.packs.trained, self.environments.shelf)
        await asyncio.to_thread(disk_cache.tidy, shelves, self._settings.cache_bytes)


@contextmanager
def fetching() -> Generator[None]:
    """What goes wrong with an archive, as a stage of a push."""
    try:
        yield
    except (FileStoreError, BadPack) as error:
        raise NotOffered(str(error), stage="fetch") from error
