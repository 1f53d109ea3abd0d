"""Pushed versions, made ready to be loaded on this host."""

import asyncio
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from runners.errors import (
    BadArchive,
    BadFolder,
    EnvironmentFailed,
    FileStoreError,
    UnusableModel,
    location_prefix,
)
from runners.settings import Settings
from runners.versions import disk_cache, introspection, model_folder
from runners.versions.archive_cache import ArchiveCache
from runners.versions.environments import Environment, EnvironmentCache
from runners.versions.introspection import Model
from runners.versions.model_folder import ModelFolder
from schemas import phases
from schemas.models import Manifest, Weights


class PushedVersions:
    """The folders, weights and environments of pushed versions, from the caches of this host.

    What is acquired stays until the caller's `resources` are closed. Builds take the steps one by one, all others
    load a whole model.
    """

    def __init__(self, archives: ArchiveCache, environments: EnvironmentCache, settings: Settings) -> None:
        self.archives = archives
        self.environments = environments
        self._settings = settings

    async def load_model(self, manifest: Manifest, resources: ExitStack, on_phase: Callable[[str], None]) -> Model:
        """Fetch, build and introspect a version; `on_phase` gets each phase (`schemas.phases`).

        Raises `FileStoreError`, `BadArchive` and `UnusableModel`.
        """
        on_phase(phases.DOWNLOADING)
        path = await self.fetch_folder(manifest, resources)
        folder = await self.read_folder(manifest, path)
        on_phase(phases.BUILDING)
        environment = await self.acquire_environment(folder, resources, lambda _: None)
        return await introspection.introspect_model(folder, environment, self._settings)

    async def fetch_folder(self, manifest: Manifest, resources: ExitStack) -> Path:
        """Acquire the unpacked folder of a version."""
        path = await self.archives.acquire_folder(manifest)
        resources.callback(self.archives.release_folder, manifest)
        await self.trim_caches()
        return path

    async def fetch_weights(self, weights: Weights, resources: ExitStack) -> Path:
        """Acquire the file of trained weights."""
        path = await self.archives.acquire_weights(weights)
        resources.callback(self.archives.release_weights, weights)
        await self.trim_caches()
        return path

    async def read_folder(self, manifest: Manifest, path: Path) -> ModelFolder:
        """Read an unpacked folder. Raises `UnusableModel`."""
        try:
            return await asyncio.to_thread(
                model_folder.read, path, manifest.owner, manifest.name, version=manifest.version
            )
        except BadFolder as error:
            # Without the path on this host, which means nothing to the author.
            reason = error.reason.removeprefix(f"{path}/{error.file}: ").replace(f"{path}/", "")
            raise UnusableModel(
                f"{location_prefix(error.file, error.line)}{reason}",
                stage="config",
                file=error.file,
                line=error.line,
            ) from error

    async def acquire_environment(
        self, folder: ModelFolder, resources: ExitStack, on_output: Callable[[str], None]
    ) -> Environment:
        """Acquire the environment that a folder requires, built if it is missing. Raises `UnusableModel`."""
        try:
            environment = await self.environments.acquire(folder.requirements, on_output)
        except EnvironmentFailed as error:
            raise UnusableModel(
                f"{location_prefix(error.file, error.line)}{error}",
                stage="environment",
                file=error.file,
                line=error.line,
                log=error.log,
            ) from error
        resources.callback(self.environments.release, environment)
        await self.trim_caches()
        return environment

    async def trim_caches(self) -> None:
        """Remove what is unused until all caches together fit into their limit."""
        caches = (self.archives.archives, self.archives.weights, self.environments.cache)
        await asyncio.to_thread(disk_cache.trim, caches, self._settings.cache_bytes)


@contextmanager
def as_fetch_failure() -> Generator[None]:
    """Raise errors of the file store and of archives as an `UnusableModel` of the stage `fetch`."""
    try:
        yield
    except (FileStoreError, BadArchive) as error:
        raise UnusableModel(str(error), stage="fetch") from error
