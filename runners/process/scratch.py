"""Folders for what lives as long as a worker or a prediction; what a killed agent left of them is swept away."""

import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Final

import psutil

_NAME: Final = re.compile(r"samovar-(worker|inputs)-(?P<pid>\d{1,9})-\w+")


def worker() -> str:
    """A new one for the files of a worker's runs."""
    return _made("worker")


def inputs() -> str:
    """A new one for the files that a prediction brings."""
    return _made("inputs")


def sweep() -> None:
    """Remove those of processes that are gone. One whose number was given to another process stays, until that ends."""
    for folder in Path(tempfile.gettempdir()).iterdir():
        named = _NAME.fullmatch(folder.name)
        if named and not psutil.pid_exists(int(named["pid"])) and folder.lstat().st_uid == os.geteuid():
            shutil.rmtree(folder, ignore_errors=True)


def _made(kind: str) -> str:
    return tempfile.mkdtemp(prefix=f"samovar-{kind}-{os.getpid()}-")
