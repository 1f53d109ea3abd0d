"""The data directory of the local stack, and the secrets in it."""

import os
import secrets
import string
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from deploy.errors import UsageError

_LETTERS: Final = string.ascii_letters + string.digits


def default_data_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the data directory to use when none is named: the system's for root, otherwise the user's."""
    if os.geteuid() == 0:
        return Path("/var/lib/samovar")
    home = environ.get("XDG_DATA_HOME")
    return (Path(home) if home else Path.home() / ".local" / "share") / "samovar"


def create_data_dir(path: Path) -> Path:
    """Create the directory if it does not exist, and return its resolved path. Raises `UsageError`.

    Other users may pass through it but not list it: the database's user has to get to its files.
    """
    path = path.expanduser().absolute()
    try:
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o711)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise UsageError(
            f"data directory {path}: {error.strerror}; choose a directory that you may write to with --data-dir"
        ) from error
    return path.resolve()


def log_path(data_dir: Path, name: str) -> Path:
    """Return the path of a service's log."""
    return data_dir / "logs" / f"{name}.log"


def load_token(data_dir: Path, token: str | None = None) -> str:
    """Return the gateway's token: store and return `token`, or load the stored one, which is drawn the first time."""
    file = data_dir / "token"
    if token is None:
        return load_secret(file, prefix="smv_")
    if len(token) < 8 or not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError("--token: a token has 8 or more ASCII characters, and no spaces")
    write_private_file(file, token + "\n")
    return token


def load_secret(path: Path, prefix: str = "", length: int = 37) -> str:
    """Load the secret in a file; draw and store one the first time."""
    with suppress(FileNotFoundError):
        return path.read_text().strip()
    value = prefix + "".join(secrets.choice(_LETTERS) for _ in range(length))
    write_private_file(path, value + "\n")
    return value


def write_private_file(path: Path, text: str) -> None:
    """Replace a file as a whole. At no time can anybody but its owner read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
