"""Temporary folders that live as long as a worker or a prediction."""

import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Final

import psutil

_NAME: Final = re.compile(r"samovar-(worker|inputs)-(?P<pid>\d{1,9})-\w+")


def create_worker_folder() -> str:
    """Create a folder for the files of a worker's runs."""
    return _create("worker")


def create_inputs_folder() -> str:
    """Create a folder for the files in a prediction's input."""
    return _create("inputs")


def remove_stale_folders() -> None:
    """Remove the folders that killed agents left behind.

    If another process has the number of a killed agent by now, its folders stay until that process ends.
    """
    for folder in Path(tempfile.gettempdir()).iterdir():
        match = _NAME.fullmatch(folder.name)
        if match and not psutil.pid_exists(int(match["pid"])) and folder.lstat().st_uid == os.geteuid():
            shutil.rmtree(folder, ignore_errors=True)


def _create(kind: str) -> str:
    return tempfile.mkdtemp(prefix=f"samovar-{kind}-{os.getpid()}-")
