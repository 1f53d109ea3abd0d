"""Every version that can be had here, ready to be loaded: of our own folders, as pushed, or as trained."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from msgspec import structs

from runners.errors import NotOffered
from runners.process.worker_process import Program
from runners.versions.introspection import Model
from runners.versions.pushed import Pushed
from schemas import phases
from schemas.models import Manifest

WEIGHTS: Final = "COG_WEIGHTS"
"""What Cog tells `setup(weights)` by."""


class Library:
    def __init__(self, models: Mapping[str, Model], pushed: Pushed) -> None:
        self._models = models
        """Of our own folders, by version; more may come."""
        self._pushed = pushed

    async def has(self, version: str) -> bool:
        """Whether its folder is ours, or can be fetched. Raises `FileStoreError` and `BadPack`."""
        root: str | None = version
        while root is not None and root not in self._models:
            manifest = await self._pushed.packs.manifest(root)
            if manifest is None:
                return False
            root = manifest.base
        return True

    async def model(self, version: str, held: ExitStack, say: Callable[[str], None]) -> Model:
        """What it needs stays until `held` is closed; `say` hears what is being done.

        Raises `FileStoreError`, `BadPack` and `NotOffered`.
        """
        if (model := self._models.get(version)) is not None:
            return model
        manifest = await self._pushed.packs.manifest(version)
        if manifest is None:
            raise NotOffered("this version is no longer in the file store", stage="fetch")
        return await self.made(manifest, held, say)

    async def made(self, manifest: Manifest, held: ExitStack, say: Callable[[str], None]) -> Model:
        """The same of one whose manifest is at hand."""
        if manifest.base is None or manifest.weights is None:
            return await self._pushed.model(manifest, held, say)
        base = await self.model(manifest.base, held, say)
        say(phases.DOWNLOADING)
        weights = await self._pushed.weights(manifest.weights, held)
        return _with_weights(base, manifest, weights)


def _with_weights(base: Model, manifest: Manifest, weights: Path) -> Model:
    offer = structs.replace(base.offer, owner=manifest.owner, name=manifest.name, version=manifest.version)
    trainer = _given(base.trainer, weights) if base.trainer is not None else None
    return structs.replace(base, offer=offer, program=_given(base.program, weights), trainer=trainer)


def _given(program: Program, weights: Path) -> Program:
    return structs.replace(program, environment={**program.environment, WEIGHTS: str(weights)})
