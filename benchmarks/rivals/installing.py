"""Installs the rivals from PyPI, each into an environment of its own."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from benchmarks.rivals.names import NAMES
from deploy.errors import DeployError
from runners.settings import from_env

HERE: Final = Path(__file__).parent
HARNESS: Final = HERE.parents[1]
_STAMP: Final = ".requirements"
_BENEATH: Final = "harness.pth"

Progress = Callable[[str], None]


class NotInstalled(DeployError):
    """A rival is not there, or could not be installed."""


def install(names: Iterable[str] = NAMES, progress: Progress = print) -> None:
    """Quick for those that are there already. Raises `NotInstalled`."""
    for name in names:
        home = home_of(name)
        if installed(name):
            progress(f"{name}: is there already, in {home}")
            continue
        progress(f"{name}: installing into {home}")
        _make(name, home)
        progress(f"{name}: installed")


def home_of(name: str) -> Path:
    return Path(from_env(os.environ).cache_dir) / "rivals" / name


def installed(name: str) -> bool:
    """As it should be: what it was installed from is what is asked for now."""
    return _stamp(home_of(name)) == _wanted(name)


def python_of(name: str) -> Path:
    """Its interpreter. Raises `NotInstalled`."""
    if not installed(name):
        raise NotInstalled(f"{name} is not installed as it should be: samovar bench rivals install {name}")
    return home_of(name) / "bin" / "python"


def requirements_of(name: str) -> Path:
    return HERE / name / "requirements.txt"


def _make(name: str, home: Path) -> None:
    shutil.rmtree(home, ignore_errors=True)
    home.parent.mkdir(parents=True, exist_ok=True)
    uv = _uv()
    _run(name, [sys.executable, "-m", "venv", *(["--without-pip"] if uv else []), str(home)])
    python = str(home / "bin" / "python")
    wanted = ["-r", str(requirements_of(name))]
    if uv:
        _run(name, [uv, "pip", "install", "--quiet", "--python", python, *wanted])
    else:
        _run(name, [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted])
    _lay_over(home)
    (home / _STAMP).write_text(_wanted(name))


def _lay_over(home: Path) -> None:
    """What models run on (torch, transformers, weights) is the harness's own; what a rival brought comes first."""
    [site] = home.glob("lib/python*/site-packages")
    ours = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (site / _BENEATH).write_text("\n".join([*ours, str(HARNESS)]) + "\n")


def _wanted(name: str) -> str:
    """Another one of these and it is installed anew."""
    content = requirements_of(name).read_bytes() + f"{sys.version} {sys.prefix} {HARNESS}".encode()
    return hashlib.sha256(content).hexdigest()


def _stamp(home: Path) -> str | None:
    with suppress(OSError):
        return (home / _STAMP).read_text()
    return None


def _run(name: str, command: list[str]) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotInstalled(f"{name} could not be installed:\n{(done.stderr or done.stdout).strip()}")


def _uv() -> str | None:
    """Far quicker than pip, where it is there."""
    return shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
