"""The build of one environment: a venv, its packages, and the commands of cog.yaml."""

import asyncio
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from runners.errors import EnvironmentFailed
from runners.process import subprocesses
from runners.process.program import INHERITED_VARIABLES
from runners.versions import overlay
from runners.versions.requirements import Requirements, SourceLine

MAX_LOG_CHARS: Final = 100_000
MAX_UV_ROUNDS: Final = 12  # of asking uv for what is still missing
_INSTALLER_VARIABLES: Final = re.compile(r"(PIP|UV)_.*")
_PTH_FILE: Final = "_runner.pth"
_WORKER_REQUIREMENT: Final = "msgspec>=0.20"
_NOT_INSTALLED: Final = "packages cannot be installed"


class EnvironmentBuilder:
    """A build of one environment, and its log.

    An overlay lies over the runner's packages; an environment for another Python has all packages of its own.
    """

    def __init__(
        self,
        requirements: Requirements,
        python: Path,
        *,
        is_overlay: bool,
        uv: str | None,
        environ: Mapping[str, str],
        on_output: Callable[[str], None],
    ) -> None:
        self._requirements = requirements
        self._python = python
        self._is_overlay = is_overlay
        self._uv = uv
        self._on_output = on_output
        self._environ = environ
        self._output: list[str] = []

    @property
    def log(self) -> str:
        """The output so far, its last `MAX_LOG_CHARS` characters."""
        return "".join(self._output)[-MAX_LOG_CHARS:]

    async def build(self, folder: Path) -> None:
        """Build the environment in `folder`. Raises `EnvironmentFailed`."""
        with tempfile.TemporaryDirectory(prefix="samovar-build-") as scratch:
            self._scratch = Path(scratch)
            self._empty = self._scratch / "empty"
            self._empty.mkdir()
            await self._create_venv(folder)
            for step in self._requirements.pre_install:
                await self._run_step(folder, step)
            if any(not line.is_option for line in self._requirements.packages) or not self._is_overlay:
                await self._install(folder)
            for step in self._requirements.run:
                await self._run_step(folder, step)

    async def _create_venv(self, folder: Path) -> None:
        options = ["--without-pip"] if self._is_overlay or self._uv else []
        command = [str(self._python), "-m", "venv", *options, str(folder)]
        await self._run_tool("the environment cannot be created", command)
        if self._is_overlay:
            # Only paths are taken from it, so that what is installed in editable form beneath stays hidden.
            paths = "".join(f"{path}\n" for path in overlay.own_package_paths())
            (_site_packages(folder) / _PTH_FILE).write_text(paths)
        pip = folder / "bin" / "pip"
        if not pip.exists():
            # For commands in cog.yaml: any other pip on PATH would install elsewhere.
            pip.write_text(f'#!/bin/sh\n{self._pip_command(folder)} "$@"\n')
            pip.chmod(0o755)

    def _pip_command(self, folder: Path) -> str:
        if self._is_overlay and find_spec("pip") is not None:
            return f'exec "{folder}/bin/python" -m pip'
        return f'VIRTUAL_ENV="{folder}" exec "{self._uv or "uv"}" pip'

    async def _install(self, folder: Path) -> None:
        lines = [line.text for line in self._requirements.packages]
        if not self._is_overlay:
            lines.append(_WORKER_REQUIREMENT)
        packages = self._write_lines("requirements.txt", lines)
        constraints = self._write_lines("constraints.txt", [line.text for line in self._requirements.constraints])
        arguments = ["-r", str(packages), *(["-c", str(constraints)] if self._requirements.constraints else [])]
        if self._uv is None:
            await self._install_with_pip(folder, arguments)
        elif self._is_overlay:
            await self._install_with_uv(folder, arguments)
        else:
            await self._run_tool(_NOT_INSTALLED, [*self._uv_command(folder), *arguments])

    async def _install_with_pip(self, folder: Path, arguments: Sequence[str]) -> None:
        """Install with pip, which sees the runner's packages as installed."""
        python = str(folder / "bin" / "python")
        if self._is_overlay and find_spec("pip") is None:
            raise EnvironmentFailed("this runner has neither uv nor pip; install one of them", self.log)
        options = ["--disable-pip-version-check", "--no-input", "--progress-bar", "off", "--root-user-action", "ignore"]
        await self._run_tool(_NOT_INSTALLED, [python, "-m", "pip", "install", *options, *arguments])

    async def _install_with_uv(self, folder: Path, arguments: Sequence[str]) -> None:
        """Install with uv, which does not see the runner's packages: exclude those, except where they do not fit.

        A package installed in one round may require another version of an excluded one, hence several rounds.
        """
        packages = _parse(self._requirements.packages)
        constraints = _parse(self._requirements.constraints)
        own_packages = await asyncio.to_thread(overlay.find_packages, overlay.own_package_paths())
        excluded = set(own_packages) - overlay.find_conflicts(own_packages, packages + constraints)
        added: dict[str, None] = {}
        for _ in range(MAX_UV_ROUNDS):
            excludes = self._write_lines("excluded.txt", sorted(excluded))
            more = ["-r", str(self._write_lines("more.txt", added))] if added else []
            command = [*self._uv_command(folder), "--excludes", str(excludes), *arguments, *more]
            await self._run_tool(_NOT_INSTALLED, command)
            before = len(excluded), len(added)
            for requirement, required_by in await asyncio.to_thread(_find_missing, folder, packages):
                excluded -= {canonicalize_name(requirement.name)} | ({required_by} if required_by else set())
                requirement.marker = None
                added[str(requirement)] = None
            if (len(excluded), len(added)) == before:
                return
        raise EnvironmentFailed("the packages' requirements of each other do not settle", self.log)

    def _uv_command(self, folder: Path) -> list[str]:
        assert self._uv is not None
        python = str(folder / "bin" / "python")
        return [self._uv, "pip", "install", "--no-progress", "--no-config", "--python", python]

    async def _run_step(self, folder: Path, step: SourceLine) -> None:
        self._log(f"$ {step.text.strip()}\n")
        await self._run_tool("a command failed", ["/bin/sh", "-ec", step.text], folder=folder, step=step)

    async def _run_tool(
        self, problem: str, command: Sequence[str], *, folder: Path | None = None, step: SourceLine | None = None
    ) -> None:
        """Run a command; inside the environment if there is a `folder`, else with the installers' own variables."""
        environment = {name: value for name, value in self._environ.items() if INHERITED_VARIABLES.fullmatch(name)}
        if folder is not None:
            path = f"{folder / 'bin'}{os.pathsep}{environment.get('PATH', os.defpath)}"
            environment |= {"PATH": path, "VIRTUAL_ENV": str(folder)}
        else:
            environment |= {
                name: value for name, value in self._environ.items() if _INSTALLER_VARIABLES.fullmatch(name)
            }
        try:
            await subprocesses.run_command(command, cwd=self._empty, environment=environment, on_output=self._log)
        except subprocesses.CommandFailed as error:
            raise self._failure(problem, error, step) from error

    def _failure(self, problem: str, error: subprocesses.CommandFailed, step: SourceLine | None) -> EnvironmentFailed:
        """Return the failure with the line that caused it, where that is known."""
        last_error = _last_error(self.log)
        line = step or _culprit(last_error, self._requirements.packages) or SourceLine("")
        reason = f"{step.text.strip().splitlines()[0][:200]} {error}" if step else last_error
        return EnvironmentFailed(f"{problem}: {reason}", self.log, file=line.file, line=line.line)

    def _log(self, text: str) -> None:
        self._output.append(text)
        self._on_output(text)

    def _write_lines(self, name: str, lines: Iterable[str]) -> Path:
        file = self._scratch / name
        file.write_text("".join(f"{line}\n" for line in lines))
        return file


def _parse(lines: Iterable[SourceLine]) -> list[Requirement]:
    return [each for line in lines if (each := overlay.parse_requirement(line.text)) is not None]


def _site_packages(folder: Path) -> Path:
    return next((folder / "lib").glob("python3*")) / "site-packages"


def _find_missing(folder: Path, requirements: list[Requirement]) -> list[tuple[Requirement, str | None]]:
    packages = overlay.find_packages([str(_site_packages(folder)), *overlay.own_package_paths()])
    return list(overlay.find_missing(packages, requirements))


def _last_error(log: str) -> str:
    """Return the log of a failed tool from its last error on."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    first = next((i for i in reversed(range(len(lines))) if re.match(r"(ERROR|error|×|x )", lines[i])), None)
    return " ".join(lines[first:] if first is not None else lines[-3:])[-1_500:]


def _culprit(error: str, packages: Sequence[SourceLine]) -> SourceLine | None:
    """Return the first line whose package the error names."""
    for line in packages:
        name = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", line.text)
        if name and re.search(rf"(?<![\w.-]){re.escape(name[0])}(?![\w-])", error, re.IGNORECASE):
            return line
    return None
