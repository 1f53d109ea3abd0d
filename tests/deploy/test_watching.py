import signal
import subprocess
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import IO

import pytest

from benchmarks.stack import SAMOVAR
from deploy.cli.watching import changed
from tests.deploy.fake import LIMIT, FakeGateway, environment

Lines = Queue[str]


@pytest.fixture
def told(folder: Path) -> Generator[Lines]:
    """What is told of changes in the folder; the first, which is for nothing, is taken."""
    told, stop = Lines(), threading.Event()

    def follow() -> None:
        for what in changed(folder, stop):
            told.put(what)

    thread = threading.Thread(target=follow)
    thread.start()
    assert told.get(timeout=LIMIT) == ""
    yield told
    stop.set()
    thread.join(LIMIT)


def test_what_has_changed_is_named(folder: Path, told: Lines) -> None:
    (folder / "predict.py").write_text("# another\n")
    assert told.get(timeout=LIMIT) == "predict.py"
    (folder / "words.txt").write_text("new")
    assert told.get(timeout=LIMIT) == "words.txt"
    (folder / "words.txt").unlink()
    assert told.get(timeout=LIMIT) == "words.txt"


def test_what_is_never_packed_is_not_told_of(folder: Path, told: Lines) -> None:
    (folder / ".dockerignore").write_text("*.log\n")
    assert told.get(timeout=LIMIT) == ".dockerignore"
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "predict.pyc").write_bytes(b"x")
    (folder / "run.log").write_text("x")
    (folder / "predict.py").write_text("# another\n")
    assert told.get(timeout=LIMIT) == "predict.py"


@contextmanager
def watching(gateway: FakeGateway, folder: Path, *words: str) -> Generator[tuple[subprocess.Popen[str], Lines, Lines]]:
    """The process, and its lines: on stdout, on stderr."""
    command = [SAMOVAR, "push", "--watch", folder, "me/mine", *words]
    out, err, pipe = Lines(), Lines(), subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment(gateway)) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        threads = [threading.Thread(target=_read, args=each) for each in ((process.stdout, out), (process.stderr, err))]
        for thread in threads:
            thread.start()
        try:
            yield process, out, err
        finally:
            process.kill()
            for thread in threads:
                thread.join()


def _read(file: IO[str], lines: Lines) -> None:
    for line in file:
        lines.put(line)


def until(lines: Lines, text: str) -> str:
    while text not in (line := lines.get(timeout=LIMIT)):
        pass
    return line


def test_each_change_is_pushed_and_tried_until_an_interrupt(gateway: FakeGateway, folder: Path) -> None:
    with watching(gateway, folder, "-i", "text=hello") as (process, out, err):
        first = until(out, "me/mine:")
        assert until(out, "made")
        until(err, "watching")
        (folder / "predict.py").write_text("class Predictor:\n    def predict(self) -> str:\n        return 'two'\n")
        assert until(err, "changed: ") == "samovar: changed: predict.py\n"
        assert until(out, "me/mine:") != first
        assert until(out, "made")
        until(err, "watching")
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT) == 130
    assert gateway.inputs == [{"text": "hello"}] * 2


def test_a_push_that_fails_does_not_end_it(gateway: FakeGateway, folder: Path) -> None:
    with watching(gateway, folder) as (_, out, err):
        until(out, "me/mine:")
        until(err, "watching")
        (folder / "cog.yaml").write_text("predict: [\n")
        until(err, "samovar: config: cog.yaml:")
        until(err, "watching")
        gateway.error = "setup: predict.py:1: no"
        (folder / "cog.yaml").write_text("predict: predict.py:Predictor  # again\n")
        until(err, "samovar: failed: setup: predict.py:1: no")
        until(err, "watching")
        gateway.error = None
        (folder / "predict.py").write_text("class Predictor:\n    def predict(self) -> str: ...\n")
        assert until(out, "me/mine:")
