"""The virtual environment of the oracle, made once from pinned versions."""

import fcntl
import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Final

PINS: Final = Path(__file__).parent / "requirements.txt"
HOME: Final = Path(__file__).parents[2] / ".venv-oracle"


def oracle_python(home: Path = HOME) -> Path:
    """Return the interpreter that has `cog` and `coglet`. It is made again only if the pins have changed."""
    home.mkdir(exist_ok=True)
    stamp, python = home / ".pins", home / "bin" / "python"
    pins = hashlib.sha256(PINS.read_bytes() + sys.version.encode()).hexdigest()
    with open(home / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.is_file() or stamp.read_text() != pins:
            _make(home, python)
            stamp.write_text(pins)
    return python


def _make(home: Path, python: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    (home / ".gitignore").write_text("*\n")
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(PINS)]
    subprocess.run(install, check=True)
