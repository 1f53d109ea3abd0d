import threading
from collections.abc import Generator
from pathlib import Path
from queue import Queue

import pytest

from deploy.cli.folder.changes import watch_changes
from tests.deploy.command_line import TIMEOUT

Lines = Queue[str]


@pytest.fixture
def changes(folder: Path) -> Generator[Lines]:
    """The changes of the folder, without the empty one at the start."""
    changes, stop = Lines(), threading.Event()

    def follow() -> None:
        for names in watch_changes(folder, stop):
            changes.put(names)

    thread = threading.Thread(target=follow)
    thread.start()
    assert changes.get(timeout=TIMEOUT) == ""
    yield changes
    stop.set()
    thread.join(TIMEOUT)


def test_changed_files_are_named(folder: Path, changes: Lines) -> None:
    (folder / "predict.py").write_text("# another\n")
    assert changes.get(timeout=TIMEOUT) == "predict.py"
    (folder / "words.txt").write_text("new")
    assert changes.get(timeout=TIMEOUT) == "words.txt"
    (folder / "words.txt").unlink()
    assert changes.get(timeout=TIMEOUT) == "words.txt"


def test_files_that_are_never_packed_are_ignored(folder: Path, changes: Lines) -> None:
    (folder / ".dockerignore").write_text("*.log\n")
    assert changes.get(timeout=TIMEOUT) == ".dockerignore"
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "predict.pyc").write_bytes(b"x")
    (folder / "run.log").write_text("x")
    (folder / "predict.py").write_text("# another\n")
    assert changes.get(timeout=TIMEOUT) == "predict.py"
