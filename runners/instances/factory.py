"""The factory of instances: from local folders, or from versions that were pushed or trained."""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from msgspec import Raw

from runners.errors import BadArchive, FileStoreError, SetupFailed, UnusableModel, VersionUnavailable
from runners.instances.instance import Instance, InstanceContext, InstanceObserver
from runners.placement.memory_profiles import Hints
from runners.process.program import Program
from runners.process.worker_process import WorkerProcess
from runners.versions.introspection import Model
from runners.versions.pushed import PushedVersions
from runners.versions.resolver import Resolver
from schemas import subjects
from schemas.models import Manifest, VersionInfo


class InstanceFactory:
    """The source of instances for the pool.

    It combines local models with those that the resolver gets from the file store; `local_models` are by version, and
    may grow later.
    """

    def __init__(
        self, local_models: dict[str, Model], resolver: Resolver, pushed: PushedVersions, context: InstanceContext
    ) -> None:
        self._local_models = local_models
        self._resolver = resolver
        self._pushed = pushed
        self._context = context

    async def can_serve(self, version: str) -> bool:
        """Return whether a version is available here. Raises `VersionUnavailable` if that is unknown just now."""
        try:
            return await self._resolver.can_resolve(version)
        except (FileStoreError, BadArchive) as error:
            raise VersionUnavailable(str(error)) from error

    def hints(self) -> dict[str, Hints]:
        """Return the hints of local models, by version."""
        return {version: model.hints for version, model in self._local_models.items()}

    async def create_instance(
        self, service: str, observer: InstanceObserver, on_phase: Callable[[str], None]
    ) -> Instance | None:
        """Create an instance; None if there is no such version. `on_phase` gets each phase (`schemas.phases`).

        A version that cannot run gets an instance that answers its jobs with the reason. Raises `VersionUnavailable`.
        """
        version, pool = subjects.version_of(service), subjects.pool_of(service)
        if (model := self._local_models.get(version)) is not None:
            return Instance(model, self._context, observer, pool)
        manifest = await self._fetch_manifest(version)
        if manifest is None:
            return None
        resources = ExitStack()
        try:
            model = await self._resolver.resolve_manifest(manifest, resources, on_phase)
            instance = CachedInstance(model, self._context, observer, pool)
            instance.resources = resources.pop_all()
        except FileStoreError as error:
            raise VersionUnavailable(str(error)) from error
        except (UnusableModel, BadArchive) as error:
            failed = FailedInstance(
                _placeholder_model(manifest, self._context.settings.pool), self._context, observer, pool
            )
            failed.failure = _as_setup_failure(error)
            return failed
        else:
            return instance
        finally:
            resources.close()

    async def _fetch_manifest(self, version: str) -> Manifest | None:
        try:
            return await self._pushed.archives.fetch_manifest(version)
        except (FileStoreError, BadArchive) as error:
            raise VersionUnavailable(str(error)) from error


class CachedInstance(Instance):
    """An instance that uses a folder and an environment of the cache, and releases them in the end."""

    resources: ExitStack

    async def close(self, drain_seconds: float, stop_waiting: asyncio.Event) -> None:
        """Close the instance and release its resources."""
        with self.resources:
            await super().close(drain_seconds, stop_waiting)


class FailedInstance(Instance):
    """An instance that answers jobs with the reason why its version cannot run here."""

    failure: SetupFailed

    async def _load(self) -> WorkerProcess:
        raise self.failure


def _as_setup_failure(error: UnusableModel | BadArchive) -> SetupFailed:
    stage, text = (error.stage, error.log) if isinstance(error, UnusableModel) else ("fetch", "")
    return SetupFailed(f"{stage}: {error}", text)


def _placeholder_model(manifest: Manifest, pool: str) -> Model:
    """Return a model with a name and no program, for a version that cannot be loaded."""
    info = VersionInfo(
        owner=manifest.owner,
        name=manifest.name,
        version=manifest.version,
        openapi_schema=Raw(b"{}"),
        cog_version="",
        pool=pool,
    )
    return Model(info=info, program=Program(folder=Path(), ref="", environment={}))
