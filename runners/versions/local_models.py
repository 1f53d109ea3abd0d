"""The models of local folders: those in the settings, and those that come with Samovar."""

import asyncio
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import structlog

from runners.errors import BadFolder, EnvironmentFailed, RunnerError, UnusableModel
from runners.settings import Settings
from runners.versions.environments import Environment, EnvironmentCache
from runners.versions.introspection import Model, introspect_model
from runners.versions.model_folder import ModelFolder, read

log = structlog.stdlib.get_logger()

BUNDLED: Final = Path(__file__).parents[1] / "models"
MAX_PARALLEL: Final = 2  # introspections


class LocalModels:
    """The models of local folders, by version; those that wait for an environment come later."""

    def __init__(
        self, models: dict[str, Model], waiting: list[ModelFolder], environments: EnvironmentCache, settings: Settings
    ) -> None:
        self.models = models
        self._waiting = waiting
        self._environments = environments
        self._settings = settings

    async def load_remaining(self, on_added: Callable[[Model], None]) -> None:
        """Add the models that wait for their environments, one after the other; none is removed later."""
        while self._waiting:
            folder = self._waiting.pop(0)
            try:
                environment = await self._environments.acquire(folder.requirements, lambda _: None)
                model = await introspect_model(folder, environment, self._settings)
            except (EnvironmentFailed, UnusableModel) as error:
                _log_left_out(folder.path, error)
                continue
            self.models[model.version] = model
            on_added(model)


async def load_local_models(settings: Settings, environments: EnvironmentCache) -> LocalModels:
    """Load all models that need no environment of their own; `LocalModels.load_remaining` adds the others."""
    folders = await _find_folders(settings)
    waiting = [folder for folder in folders if environments.is_needed(folder.requirements)]
    ready = [folder for folder in folders if folder not in waiting]
    models = await _introspect_all(ready, Environment(Path(sys.executable), None), settings)
    return LocalModels({model.version: model for model in models}, waiting, environments, settings)


async def _find_folders(settings: Settings) -> list[ModelFolder]:
    """Return the folders to serve, one per name. Those that cannot be read are logged and left out."""
    folders: list[ModelFolder] = []
    names: set[str] = set()
    for path in _candidate_paths(settings):
        try:
            folder = await asyncio.to_thread(read, path)
        except (BadFolder, OSError) as error:
            _log_left_out(path, UnusableModel(str(error)))
            continue
        if folder.name in names:
            log.warning("a second folder of the same name is left out", model=folder.name, folder=str(path))
            continue
        names.add(folder.name)
        folders.append(folder)
    return folders


def _candidate_paths(settings: Settings) -> Iterator[Path]:
    """Yield the folders in the settings first: they win over bundled ones of the same name."""
    roots = [Path(name) for name in settings.models] + ([BUNDLED] if settings.bundled else [])
    seen: set[Path] = set()
    for root in roots:
        for path in _cog_folders(root):
            if path.resolve() not in seen:
                seen.add(path.resolve())
                yield path.resolve()


def _cog_folders(path: Path) -> Iterable[Path]:
    """Return a Cog folder, or the Cog folders inside it; a path that is not a folder passes, as reading it says why."""
    if _is_cog_folder(path) or not path.is_dir():
        return [path]
    return sorted(child for child in path.iterdir() if child.is_dir() and _is_cog_folder(child))


def _is_cog_folder(path: Path) -> bool:
    return (path / "cog.yaml").is_file() or (path / "predict.py").is_file()


async def _introspect_all(folders: Iterable[ModelFolder], environment: Environment, settings: Settings) -> list[Model]:
    """Return the models of those folders that are usable in this environment, a few introspected at a time."""
    limit = asyncio.Semaphore(MAX_PARALLEL)

    async def introspect_one(folder: ModelFolder) -> Model | None:
        async with limit:
            try:
                return await introspect_model(folder, environment, settings)
            except UnusableModel as error:
                _log_left_out(folder.path, error)
                return None

    models = await asyncio.gather(*map(introspect_one, folders))
    return [model for model in models if model is not None]


def _log_left_out(path: Path, error: RunnerError) -> None:
    log.error("a model is left out", folder=str(path), reason=str(error))
