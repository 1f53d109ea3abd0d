"""Where the local stack keeps its things, and the secrets among them."""

import os
import secrets
import string
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from deploy.errors import Unusable

_LETTERS: Final = string.ascii_letters + string.digits


def default_data_dir(environ: Mapping[str, str] = os.environ) -> Path:
    if os.geteuid() == 0:
        return Path("/var/lib/samovar")
    home = environ.get("XDG_DATA_HOME")
    return (Path(home) if home else Path.home() / ".local" / "share") / "samovar"


def make_data_dir(path: Path) -> Path:
    """The folder, made if need be. Others may pass through it but not look around: the database's user has to."""
    path = path.expanduser().absolute()
    try:
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o711)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise Unusable(
            f"data directory {path}: {error.strerror}; choose one that you may write to with --data-dir"
        ) from error
    return path.resolve()


def log_of(data_dir: Path, name: str) -> Path:
    return data_dir / "logs" / f"{name}.log"


def token_of(data_dir: Path, given: str | None = None) -> str:
    """The token for the gateway: the given one, which is kept, or the one that is kept; else it is drawn."""
    file = data_dir / "token"
    if given is None:
        return secret(file, prefix="smv_")
    if len(given) < 8 or not given.isascii() or not given.isprintable() or " " in given:
        raise Unusable("--token: it needs 8 characters or more, all ASCII and none a space")
    write_private(file, given + "\n")
    return given


def secret(path: Path, prefix: str = "", length: int = 37) -> str:
    """The secret kept in a file; it is drawn the first time."""
    with suppress(FileNotFoundError):
        return path.read_text().strip()
    drawn = prefix + "".join(secrets.choice(_LETTERS) for _ in range(length))
    write_private(path, drawn + "\n")
    return drawn


def write_private(path: Path, text: str) -> None:
    """Replace a file as a whole; nobody but its owner can read it at any time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
