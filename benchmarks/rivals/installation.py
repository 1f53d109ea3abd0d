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

from benchmarks.rivals.registry import NAMES
from deploy.errors import DeployError
from runners.settings import from_env

HERE: Final = Path(__file__).parent
HARNESS: Final = HERE.parents[1]
STAMP_FILE: Final = ".requirements"
PATH_FILE: Final = "harness.pth"

Progress = Callable[[str], None]


class NotInstalled(DeployError):
    """A rival is not installed, or could not be installed."""


def install(names: Iterable[str] = NAMES, progress: Progress = print) -> None:
    """Install rivals; those that are installed already take no time.

    Raises `NotInstalled`.
    """
    for name in names:
        home = environment_folder(name)
        if is_installed(name):
            progress(f"{name}: already installed in {home}")
            continue
        progress(f"{name}: installing into {home}")
        _create_environment(name, home)
        progress(f"{name}: installed")


def environment_folder(name: str) -> Path:
    """Return the folder of a rival's environment."""
    return Path(from_env(os.environ).cache_dir) / "rivals" / name


def is_installed(name: str) -> bool:
    """Return whether the rival was installed from what is asked for now."""
    return _read_stamp(environment_folder(name)) == _expected_stamp(name)


def find_python(name: str) -> Path:
    """Return the interpreter of a rival.

    Raises `NotInstalled`.
    """
    if not is_installed(name):
        raise NotInstalled(f"{name} is not installed, or is outdated: run `samovar bench rivals install {name}`")
    return environment_folder(name) / "bin" / "python"


def requirements_file(name: str) -> Path:
    """Return the file with a rival's requirements."""
    return HERE / name / "requirements.txt"


def _create_environment(name: str, home: Path) -> None:
    shutil.rmtree(home, ignore_errors=True)
    home.parent.mkdir(parents=True, exist_ok=True)
    uv = _uv()
    _run(name, [sys.executable, "-m", "venv", *(["--without-pip"] if uv else []), str(home)])
    python = str(home / "bin" / "python")
    arguments = ["-r", str(requirements_file(name))]
    if uv:
        _run(name, [uv, "pip", "install", "--quiet", "--python", python, *arguments])
    else:
        _run(name, [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments])
    _add_harness_packages(home)
    (home / STAMP_FILE).write_text(_expected_stamp(name))


def _add_harness_packages(home: Path) -> None:
    """Make the harness's packages importable, such as torch and transformers; a rival's own come first."""
    [site] = home.glob("lib/python*/site-packages")
    ours = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (site / PATH_FILE).write_text("\n".join([*ours, str(HARNESS)]) + "\n")


def _expected_stamp(name: str) -> str:
    """Return a digest of all that an installation depends on."""
    content = requirements_file(name).read_bytes() + f"{sys.version} {sys.prefix} {HARNESS}".encode()
    return hashlib.sha256(content).hexdigest()


def _read_stamp(home: Path) -> str | None:
    with suppress(OSError):
        return (home / STAMP_FILE).read_text()
    return None


def _run(name: str, command: list[str]) -> None:
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if result.returncode:
        raise NotInstalled(f"{name} could not be installed:\n{(result.stderr or result.stdout).strip()}")


def _uv() -> str | None:
    """Return the path of uv, which is far quicker than pip, or None."""
    return shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
