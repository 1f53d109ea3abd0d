"""What an agent offers of its own: the folders that it was given, and the models that come with it."""

import sys
from collections.abc import Callable
from pathlib import Path

from runners.errors import EnvironmentFailed, NotOffered
from runners.settings import Settings
from runners.versions import introspection
from runners.versions.environments import Environment, Environments
from runners.versions.introspection import Model
from runners.versions.model_folder import Folder


class Stock:
    def __init__(
        self, models: dict[str, Model], waiting: list[Folder], environments: Environments, settings: Settings
    ) -> None:
        self.models = models
        """By version."""
        self._waiting = waiting
        self._environments = environments
        self._settings = settings

    async def rest(self, added: Callable[[Model], None]) -> None:
        """Add those that have to wait for their environments, one after the other. They stay for good."""
        while self._waiting:
            folder = self._waiting.pop(0)
            try:
                environment = await self._environments.ensure(folder.requirements, lambda _: None)
                model = await introspection.model_of(folder, environment, self._settings)
            except (EnvironmentFailed, NotOffered) as error:
                introspection.left_out(folder.path, error)
                continue
            self.models[model.offer.version] = model
            added(model)


async def taken(settings: Settings, environments: Environments) -> Stock:
    """With all models that need no environment of their own; the others come later."""
    folders = await introspection.found(settings)
    waiting = [folder for folder in folders if environments.needed(folder.requirements)]
    ready = [folder for folder in folders if folder not in waiting]
    models = await introspection.offered(ready, Environment(Path(sys.executable), None), settings)
    return Stock({model.offer.version: model for model in models}, waiting, environments, settings)
