"""The resolver of versions: from local folders, as pushed, or as trained."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from msgspec import structs

from runners.errors import UnusableModel
from runners.process.program import Program
from runners.versions.introspection import Model
from runners.versions.pushed import PushedVersions
from schemas import phases
from schemas.models import Manifest

WEIGHTS_VARIABLE: Final = "COG_WEIGHTS"
"""The variable by which Cog passes weights to `setup(weights)`."""


class Resolver:
    """A lookup of models by version, in local folders and then in the file store.

    `local_models` are by version, and may grow later.
    """

    def __init__(self, local_models: Mapping[str, Model], pushed: PushedVersions) -> None:
        self._local_models = local_models
        self._pushed = pushed

    async def can_resolve(self, version: str) -> bool:
        """Return whether the version's folder is local or can be fetched. Raises `FileStoreError` and `BadArchive`."""
        root: str | None = version
        while root is not None and root not in self._local_models:
            manifest = await self._pushed.archives.fetch_manifest(root)
            if manifest is None:
                return False
            root = manifest.base
        return True

    async def resolve(self, version: str, resources: ExitStack, on_phase: Callable[[str], None]) -> Model:
        """Return the model of a version; what it needs stays until `resources` are closed.

        `on_phase` gets each phase (`schemas.phases`). Raises `FileStoreError`, `BadArchive` and `UnusableModel`.
        """
        if (model := self._local_models.get(version)) is not None:
            return model
        manifest = await self._pushed.archives.fetch_manifest(version)
        if manifest is None:
            raise UnusableModel("this version is no longer in the file store", stage="fetch")
        return await self.resolve_manifest(manifest, resources, on_phase)

    async def resolve_manifest(
        self, manifest: Manifest, resources: ExitStack, on_phase: Callable[[str], None]
    ) -> Model:
        """Return the model of a manifest, as `resolve` does."""
        if manifest.base is None or manifest.weights is None:
            return await self._pushed.load_model(manifest, resources, on_phase)
        base = await self.resolve(manifest.base, resources, on_phase)
        on_phase(phases.DOWNLOADING)
        weights = await self._pushed.fetch_weights(manifest.weights, resources)
        return _with_weights(base, manifest, weights)


def _with_weights(base: Model, manifest: Manifest, weights: Path) -> Model:
    info = structs.replace(base.info, owner=manifest.owner, name=manifest.name, version=manifest.version)
    trainer = _set_weights(base.trainer, weights) if base.trainer is not None else None
    return structs.replace(base, info=info, program=_set_weights(base.program, weights), trainer=trainer)


def _set_weights(program: Program, weights: Path) -> Program:
    return structs.replace(program, environment={**program.environment, WEIGHTS_VARIABLE: str(weights)})
