"""The lock that allows one `samovar up` per data directory."""

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from deploy.errors import AlreadyInUse


@contextmanager
def lock_data_dir(data_dir: Path) -> Generator[None]:
    """Hold the lock inside the block. The kernel releases it however this process ends. Raises `AlreadyInUse`."""
    with open(os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600), "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = file.read().strip() or "unknown"
            raise AlreadyInUse(
                f"data directory {data_dir} is in use by process {pid}: stop it (kill {pid}), "
                "or choose another directory with --data-dir"
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
