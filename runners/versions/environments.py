"""Environments that versions ask for: one per content, built once, laid over the runner's own packages."""

import asyncio
import hashlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from msgspec import Struct, json
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from runners.errors import EnvironmentFailed
from runners.process import subprocesses
from runners.process.worker_process import PASSED_ON
from runners.versions import cog_yaml, interpreters, overlay
from runners.versions.disk_cache import Shelf
from runners.versions.interpreters import OLDEST, OURS
from runners.versions.requirements import Line, Requirements

FOLDER: Final = "environments"
_FORMAT: Final = 1  # of what is built; another one builds all anew
_ROUNDS: Final = 12  # of asking uv for what is still missing
_LONGEST_LOG: Final = 100_000  # characters
_TOOLS_OWN: Final = re.compile(r"(PIP|UV)_.*")
_LOG: Final = "build.log"
_PTH: Final = "_runner.pth"
_WORKER_NEEDS: Final = "msgspec>=0.20"


class Environment(Struct, frozen=True):
    python: Path
    digest: str | None
    """None: the runner's own."""


class Environments:
    def __init__(
        self, root: Path, *, limit: float = 1800, environ: Mapping[str, str] = os.environ, uv: str | None = ""
    ) -> None:
        self.shelf = Shelf(root)
        self._limit = limit
        self._environ = environ
        self._uv = _uv() if uv == "" else uv
        self._runner: str | None = None

    async def ensure(self, requirements: Requirements, say: Callable[[str], None]) -> Environment:
        """The environment, made if it is missing; it stays until it is released. Raises `EnvironmentFailed`."""
        wanted = _python(requirements)
        if not self.needed(requirements):
            return Environment(Path(sys.executable), None)
        python = Path(sys.executable) if wanted == OURS else await self._other(wanted, requirements.python_line)
        digest = await asyncio.to_thread(self._digest, requirements, wanted, python)
        build = _Build(requirements, python, laid_over=wanted == OURS, uv=self._uv, environ=self._environ, say=say)

        async def make(folder: Path) -> None:
            try:
                async with asyncio.timeout(self._limit):
                    await build.make(folder)
                (folder / _LOG).write_text(build.log)
            except TimeoutError:
                reason = f"it took longer than the limit of {self._limit:g} s (SAMOVAR_BUILD_LIMIT)"
                raise EnvironmentFailed(reason, build.log) from None

        try:
            folder, new = await self.shelf.hold(digest, make)
        except OSError as error:
            raise EnvironmentFailed(f"the environment cannot be written: {error}", build.log) from error
        if not new:
            say(f"the environment {digest[:12]} is there already; this was said when it was built:\n")
            with suppress(OSError):
                say((folder / _LOG).read_text())
        return Environment(folder / "bin" / "python", digest)

    def needed(self, requirements: Requirements) -> bool:
        """Whether the runner's own will not do."""
        return requirements.installs or _python(requirements) != OURS

    def release(self, environment: Environment) -> None:
        """It may go when room is needed."""
        if environment.digest is not None:
            self.shelf.release(environment.digest)

    async def _other(self, wanted: str, line: int | None) -> Path:
        if tuple(map(int, wanted.split("."))) < OLDEST:
            oldest = ".".join(map(str, OLDEST))
            reason = f"python {wanted} is too old: predictors run on python {oldest} or newer"
            raise EnvironmentFailed(reason, file=cog_yaml.FILE, line=line)
        if (found := await interpreters.find(wanted)) is not None:
            return found
        there = ", ".join(await interpreters.there())
        raise EnvironmentFailed(
            f"python {wanted} is not to be had on this runner; there is {there}. "
            f"Change build.python_version, or install python{wanted} where the runner's PATH finds it",
            file=cog_yaml.FILE,
            line=line,
        )

    def _digest(self, requirements: Requirements, wanted: str, python: Path) -> str:
        """Of all that the result depends on."""
        if self._runner is None:
            packages = overlay.found(overlay.runners_paths())
            self._runner = f"{sys.version} {sys.prefix} {sorted((n, d.version) for n, d in packages.items())}"
        lines = (requirements.packages, requirements.constraints, requirements.first, requirements.run)
        beneath = self._runner if wanted == OURS else str(python)
        content = [_FORMAT, wanted, beneath, *([line.text for line in group] for group in lines)]
        return hashlib.sha256(json.encode(content)).hexdigest()


class _Build:
    """One environment being made."""

    def __init__(
        self,
        requirements: Requirements,
        python: Path,
        *,
        laid_over: bool,
        uv: str | None,
        environ: Mapping[str, str],
        say: Callable[[str], None],
    ) -> None:
        self._requirements = requirements
        self._python = python
        self._laid_over = laid_over
        self._uv = uv
        self._say = say
        self._environ = environ
        self._said: list[str] = []

    @property
    def log(self) -> str:
        return "".join(self._said)[-_LONGEST_LOG:]

    async def make(self, folder: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="samovar-build-") as scratch:
            self._scratch = Path(scratch)
            self._empty = self._scratch / "empty"
            self._empty.mkdir()
            await self._venv(folder)
            for step in self._requirements.first:
                await self._step(folder, step)
            if any(not line.option for line in self._requirements.packages) or not self._laid_over:
                await self._install(folder)
            for step in self._requirements.run:
                await self._step(folder, step)

    async def _venv(self, folder: Path) -> None:
        bare = ["--without-pip"] if self._laid_over or self._uv else []
        await self._tool("the environment cannot be made", [str(self._python), "-m", "venv", *bare, str(folder)])
        if self._laid_over:
            # Only paths are taken from it, so that what is installed in editable form beneath stays unseen.
            beneath = "".join(f"{path}\n" for path in overlay.runners_paths())
            (_site(folder) / _PTH).write_text(beneath)
        pip = folder / "bin" / "pip"
        if not pip.exists():
            # For commands: any other pip on PATH would install elsewhere.
            pip.write_text(f'#!/bin/sh\n{self._pip_words(folder)} "$@"\n')
            pip.chmod(0o755)

    def _pip_words(self, folder: Path) -> str:
        if self._laid_over and find_spec("pip") is not None:
            return f'exec "{folder}/bin/python" -m pip'
        return f'VIRTUAL_ENV="{folder}" exec "{self._uv or "uv"}" pip'

    async def _install(self, folder: Path) -> None:
        lines = [line.text for line in self._requirements.packages]
        if not self._laid_over:
            lines.append(_WORKER_NEEDS)
        wanted = self._written("requirements.txt", lines)
        constraints = self._written("constraints.txt", [line.text for line in self._requirements.constraints])
        given = ["-r", str(wanted), *(["-c", str(constraints)] if self._requirements.constraints else [])]
        if self._uv is None:
            await self._by_pip(folder, given)
        elif self._laid_over:
            await self._by_uv(folder, given)
        else:
            await self._tool(_NOT_INSTALLED, [*self._uv_install(folder), *given])

    async def _by_pip(self, folder: Path, given: Sequence[str]) -> None:
        """It sees the runner's packages as installed."""
        python = str(folder / "bin" / "python")
        if self._laid_over and find_spec("pip") is None:
            raise EnvironmentFailed("there is neither uv nor pip on this runner; install one of them", self.log)
        options = ["--disable-pip-version-check", "--no-input", "--progress-bar", "off", "--root-user-action", "ignore"]
        await self._tool(_NOT_INSTALLED, [python, "-m", "pip", "install", *options, *given])

    async def _by_uv(self, folder: Path, given: Sequence[str]) -> None:
        """It does not see the runner's packages: they are left out, and those that do not fit are asked for after all.

        What is installed in one round may want another version of what was left out of it.
        """
        wanted = [one for line in self._requirements.packages if (one := overlay.parsed(line.text)) is not None]
        limits = [one for line in self._requirements.constraints if (one := overlay.parsed(line.text)) is not None]
        beneath = await asyncio.to_thread(overlay.found, overlay.runners_paths())
        excluded = set(beneath) - overlay.unfitting(beneath, wanted + limits)
        more: dict[str, None] = {}
        for _ in range(_ROUNDS):
            without = self._written("excluded.txt", sorted(excluded))
            added = ["-r", str(self._written("more.txt", more))] if more else []
            command = [*self._uv_install(folder), "--excludes", str(without), *given, *added]
            await self._tool(_NOT_INSTALLED, command)
            missing = await asyncio.to_thread(_missing, folder, wanted)
            before = len(excluded), len(more)
            for requirement, by in missing:
                excluded -= {canonicalize_name(requirement.name)} | ({by} if by else set())
                requirement.marker = None
                more[str(requirement)] = None
            if (len(excluded), len(more)) == before:
                return
        raise EnvironmentFailed("what the packages want of each other does not come to an end", self.log)

    def _uv_install(self, folder: Path) -> list[str]:
        assert self._uv is not None
        python = str(folder / "bin" / "python")
        return [self._uv, "pip", "install", "--no-progress", "--no-config", "--python", python]

    async def _step(self, folder: Path, step: Line) -> None:
        self._told(f"$ {step.text.strip()}\n")
        await self._tool("a command failed", ["/bin/sh", "-ec", step.text], folder=folder, step=step)

    async def _tool(
        self, trouble: str, command: Sequence[str], *, folder: Path | None = None, step: Line | None = None
    ) -> None:
        environment = {name: value for name, value in self._environ.items() if PASSED_ON.fullmatch(name)}
        if folder is not None:
            path = f"{folder / 'bin'}{os.pathsep}{environment.get('PATH', os.defpath)}"
            environment |= {"PATH": path, "VIRTUAL_ENV": str(folder)}
        else:
            environment |= {name: value for name, value in self._environ.items() if _TOOLS_OWN.fullmatch(name)}
        try:
            await subprocesses.run(command, cwd=self._empty, environment=environment, say=self._told)
        except subprocesses.ToolFailed as error:
            raise self._failed(trouble, error, step) from error

    def _failed(self, trouble: str, error: subprocesses.ToolFailed, step: Line | None) -> EnvironmentFailed:
        """With the line that asked for it, where that can be told."""
        words = _last_words(self.log)
        culprit = step or _culprit(words, self._requirements.packages)
        reason = f"{trouble}: {step.text.strip().splitlines()[0][:200]} {error}" if step else f"{trouble}: {words}"
        place = culprit or Line("")
        return EnvironmentFailed(reason, self.log, file=place.file, line=place.line)

    def _told(self, text: str) -> None:
        self._said.append(text)
        self._say(text)

    def _written(self, name: str, lines: Sequence[str] | Mapping[str, None]) -> Path:
        file = self._scratch / name
        file.write_text("".join(f"{line}\n" for line in lines))
        return file


_NOT_INSTALLED: Final = "packages cannot be installed"


def _python(requirements: Requirements) -> str:
    """Major and minor: which patch of it is the runner's choice."""
    return ".".join((requirements.python_version or OURS).split(".")[:2])


def _uv() -> str | None:
    if found := shutil.which("uv"):
        return found
    with suppress(ImportError, AttributeError, FileNotFoundError):
        from uv import find_uv_bin  # pyright: ignore

        return str(find_uv_bin())
    return None


def _site(folder: Path) -> Path:
    return next((folder / "lib").glob("python3*")) / "site-packages"


def _missing(folder: Path, wanted: list[Requirement]) -> list[tuple[Requirement, str | None]]:
    return list(overlay.missing(overlay.found([str(_site(folder)), *overlay.runners_paths()]), wanted))


def _last_words(log: str) -> str:
    """Of a tool that failed: from its last error on."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    first = next((i for i in reversed(range(len(lines))) if re.match(r"(ERROR|error|×|x )", lines[i])), None)
    return " ".join(lines[first:] if first is not None else lines[-3:])[-1_500:]


def _culprit(words: str, packages: Sequence[Line]) -> Line | None:
    """The first line whose package is named."""
    for line in packages:
        name = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", line.text)
        if name and re.search(rf"(?<![\w.-]){re.escape(name[0])}(?![\w-])", words, re.IGNORECASE):
            return line
    return None
