"""Environments that versions require: one per content, built once, laid over the runner's own packages."""

import asyncio
import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from msgspec import Struct, json

from runners.errors import EnvironmentFailed
from runners.versions import cog_yaml, interpreters, overlay
from runners.versions.disk_cache import DiskCache
from runners.versions.environment_builder import EnvironmentBuilder
from runners.versions.interpreters import MIN_VERSION, OWN_VERSION
from runners.versions.requirements import Requirements

FOLDER: Final = "environments"
_FORMAT: Final = 1  # of what is built; another number builds everything again
_LOG_FILE: Final = "build.log"
_FIND_UV: Final = ""


class Environment(Struct, frozen=True):
    """A Python interpreter with the packages of a version."""

    python: Path
    digest: str | None
    """None means the runner's own environment."""


class EnvironmentCache:
    """The environments that versions require, in a disk cache of this host.

    It owns the folders; pushed versions and local models acquire their environments here.
    """

    def __init__(
        self, root: Path, *, limit: float = 1800, environ: Mapping[str, str] = os.environ, uv: str | None = _FIND_UV
    ) -> None:
        """A build takes at most `limit` seconds. With `uv` None, pip installs the packages."""
        self.cache = DiskCache(root)
        self._limit = limit
        self._environ = environ
        self._uv = _find_uv() if uv == _FIND_UV else uv
        self._own_packages: str | None = None

    async def acquire(self, requirements: Requirements, on_output: Callable[[str], None]) -> Environment:
        """Return the environment, built if it is missing; it stays until it is released. Raises `EnvironmentFailed`."""
        version = _python_version(requirements)
        if not self.is_needed(requirements):
            return Environment(Path(sys.executable), None)
        is_overlay = version == OWN_VERSION
        python = Path(sys.executable) if is_overlay else await self._find_python(version, requirements.python_line)
        digest = await asyncio.to_thread(self._digest, requirements, version, python)
        builder = EnvironmentBuilder(
            requirements, python, is_overlay=is_overlay, uv=self._uv, environ=self._environ, on_output=on_output
        )

        async def create(folder: Path) -> None:
            try:
                async with asyncio.timeout(self._limit):
                    await builder.build(folder)
                (folder / _LOG_FILE).write_text(builder.log)
            except TimeoutError:
                reason = f"it took longer than the limit of {self._limit:g} s (SAMOVAR_BUILD_LIMIT)"
                raise EnvironmentFailed(reason, builder.log) from None

        try:
            folder, new = await self.cache.acquire(digest, create)
        except OSError as error:
            raise EnvironmentFailed(f"the environment cannot be written: {error}", builder.log) from error
        if not new:
            on_output(f"the environment {digest[:12]} is there already; this is the log of its build:\n")
            with suppress(OSError):
                on_output((folder / _LOG_FILE).read_text())
        return Environment(folder / "bin" / "python", digest)

    def is_needed(self, requirements: Requirements) -> bool:
        """Return whether these requirements need an environment other than the runner's own."""
        return requirements.installs_anything or _python_version(requirements) != OWN_VERSION

    def release(self, environment: Environment) -> None:
        """Release an environment, which may then be removed to make room."""
        if environment.digest is not None:
            self.cache.release(environment.digest)

    async def _find_python(self, version: str, line: int | None) -> Path:
        if tuple(map(int, version.split("."))) < MIN_VERSION:
            minimum = ".".join(map(str, MIN_VERSION))
            reason = f"python {version} is too old: predictors run on python {minimum} or newer"
            raise EnvironmentFailed(reason, file=cog_yaml.FILE_NAME, line=line)
        if (python := await interpreters.find(version)) is not None:
            return python
        available = ", ".join(await interpreters.list_versions())
        raise EnvironmentFailed(
            f"this runner has no python {version}; it has {available}. "
            f"Change build.python_version, or install python{version} where the runner's PATH finds it",
            file=cog_yaml.FILE_NAME,
            line=line,
        )

    def _digest(self, requirements: Requirements, version: str, python: Path) -> str:
        """Hash all that the built environment depends on."""
        if self._own_packages is None:
            packages = overlay.find_packages(overlay.own_package_paths())
            self._own_packages = f"{sys.version} {sys.prefix} {sorted((n, d.version) for n, d in packages.items())}"
        lines = (requirements.packages, requirements.constraints, requirements.pre_install, requirements.run)
        base = self._own_packages if version == OWN_VERSION else str(python)
        content = [_FORMAT, version, base, *([line.text for line in group] for group in lines)]
        return hashlib.sha256(json.encode(content)).hexdigest()


def _python_version(requirements: Requirements) -> str:
    """Return major and minor version: the patch is the runner's choice."""
    return ".".join((requirements.python_version or OWN_VERSION).split(".")[:2])


def _find_uv() -> str | None:
    if path := shutil.which("uv"):
        return path
    with suppress(ImportError, AttributeError, FileNotFoundError):
        from uv import find_uv_bin  # pyright: ignore

        return str(find_uv_bin())
    return None
