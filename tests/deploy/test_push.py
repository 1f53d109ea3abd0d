"""`samovar push`, as a user types it, against a fake gateway."""

import io
import signal
import subprocess
import tarfile
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import IO

import pytest
import yaml
from msgspec import json

from benchmarks.stack import SAMOVAR
from tests.deploy.command_line import TIMEOUT, environment, samovar
from tests.deploy.fake_gateway import FakeGateway


def unpack(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        files = {member.name: tar.extractfile(member) for member in tar}
        return {name: file.read() for name, file in files.items() if file}


def test_a_folder_is_packed_sent_and_followed(gateway: FakeGateway, folder: Path) -> None:
    result = samovar(gateway, "push", folder, "me/mine")
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"me/mine:{gateway.versions[0]}\n"
    assert unpack(gateway.uploads[0]) == {
        "cog.yaml": (folder / "cog.yaml").read_bytes(),
        "predict.py": (folder / "predict.py").read_bytes(),
    }
    lines = result.stderr.splitlines()
    assert lines.index("== fetch") < lines.index("== setup")
    assert lines[-1] == "samovar: run it: samovar run me/mine -i text=… -i image=@FILE"


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        pytest.param("", ["SAMOVAR_MAX_BATCH_SIZE=8", "SAMOVAR_MAX_BATCH_WAIT_MS=2.5"], id="it had no environment"),
        pytest.param(
            "environment: [A=1, SAMOVAR_MAX_BATCH_SIZE=2]\n",
            ["A=1", "SAMOVAR_MAX_BATCH_SIZE=8", "SAMOVAR_MAX_BATCH_WAIT_MS=2.5"],
            id="it had other values",
        ),
    ],
)
def test_batching_options_are_added_to_the_environment(
    gateway: FakeGateway, folder: Path, own: str, expected: list[str]
) -> None:
    with (folder / "cog.yaml").open("a") as file:
        file.write(own)
    before = (folder / "cog.yaml").read_bytes()
    options = ("--max-batch-size", "8", "--max-batch-wait-ms", "2.5")
    result = samovar(gateway, "push", folder, "me/mine", *options)
    assert result.returncode == 0, result.stderr
    cog_yaml = yaml.safe_load(unpack(gateway.uploads[0])["cog.yaml"])
    assert cog_yaml == yaml.safe_load(before) | {"environment": expected}
    assert (folder / "cog.yaml").read_bytes() == before
    second = samovar(gateway, "push", folder, "me/mine", *options)
    assert second.stdout == result.stdout
    assert len(gateway.uploads) == 1


def test_a_batch_size_of_zero_is_refused(gateway: FakeGateway, folder: Path) -> None:
    result = samovar(gateway, "push", folder, "me/mine", "--max-batch-size", "0")
    assert result.returncode != 0
    assert "max-batch-size" in result.stdout + result.stderr
    assert gateway.uploads == []


def test_a_version_that_exists_is_not_uploaded_again(gateway: FakeGateway, folder: Path) -> None:
    first = samovar(gateway, "push", folder, "me/mine")
    second = samovar(gateway, "push", folder, "me/mine")
    assert (second.returncode, second.stdout) == (0, first.stdout)
    assert "exists already" in second.stderr
    assert len(gateway.uploads) == 1


def test_a_failed_push_says_why_and_which_version_serves(gateway: FakeGateway, folder: Path) -> None:
    gateway.versions = ["ab" * 32]
    gateway.push_error = "setup: predict.py:7: RuntimeError: no"
    result = samovar(gateway, "push", folder, "me/mine")
    assert (result.returncode, result.stdout) == (1, "")
    assert "== setup" in result.stderr
    assert "samovar: failed: setup: predict.py:7: RuntimeError: no\n" in result.stderr
    assert f"me/mine goes on serving its last good version, {'ab' * 6}" in result.stderr


def test_json_is_the_whole_push(gateway: FakeGateway, folder: Path) -> None:
    gateway.push_error = "import: predict.py:1: no"
    push = json.decode(samovar(gateway, "push", folder, "me/mine", "--json").stdout)
    assert (push["status"], push["error"]) == ("failed", gateway.push_error)


def test_an_interrupt_cancels_the_push(gateway: FakeGateway, folder: Path) -> None:
    gateway.may_finish.clear()
    command = [SAMOVAR, "push", folder, "me/mine"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment(gateway)) as process:
        assert process.stderr is not None
        while process.stderr.readline() != "== setup\n":
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT) == 130
    assert gateway.canceled.is_set()


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        pytest.param("cog.yaml", None, "samovar: config: cog.yaml: there is no such file", id="no cog.yaml"),
        pytest.param("cog.yaml", "a: [\n", "samovar: config: cog.yaml:2: ", id="no YAML"),
        pytest.param("cog.yaml", "predict: a.py:P\nbild: {}\n", "samovar: config: cog.yaml:2: bild", id="unknown key"),
        pytest.param("predict.py", None, "samovar: config: cog.yaml:1: ", id="no predictor"),
    ],
)
def test_a_bad_folder_is_refused_before_anything_is_sent(
    gateway: FakeGateway, folder: Path, file: str, content: str | None, expected: str
) -> None:
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_text(content)
    result = samovar(gateway, "push", folder, "me/mine")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(expected), result.stderr
    assert gateway.requests == []


Lines = Queue[str]


@contextmanager
def watch_folder(
    gateway: FakeGateway, folder: Path, *arguments: str
) -> Generator[tuple[subprocess.Popen[str], Lines, Lines]]:
    """The process, and queues with its lines on stdout and stderr."""
    command = [SAMOVAR, "push", "--watch", folder, "me/mine", *arguments]
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


def read_until(lines: Lines, text: str) -> str:
    while text not in (line := lines.get(timeout=TIMEOUT)):
        pass
    return line


def test_each_change_is_pushed_and_run_until_an_interrupt(gateway: FakeGateway, folder: Path) -> None:
    with watch_folder(gateway, folder, "-i", "text=hello") as (process, out, err):
        first = read_until(out, "me/mine:")
        assert read_until(out, "made")
        read_until(err, "watching")
        (folder / "predict.py").write_text("class Predictor:\n    def predict(self) -> str:\n        return 'two'\n")
        assert read_until(err, "changed: ") == "samovar: changed: predict.py\n"
        assert read_until(out, "me/mine:") != first
        assert read_until(out, "made")
        read_until(err, "watching")
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT) == 130
    assert gateway.inputs == [{"text": "hello"}] * 2


def test_a_failed_push_does_not_end_the_watch(gateway: FakeGateway, folder: Path) -> None:
    with watch_folder(gateway, folder) as (_, out, err):
        read_until(out, "me/mine:")
        read_until(err, "watching")
        (folder / "cog.yaml").write_text("predict: [\n")
        read_until(err, "samovar: config: cog.yaml:")
        read_until(err, "watching")
        gateway.push_error = "setup: predict.py:1: no"
        (folder / "cog.yaml").write_text("predict: predict.py:Predictor  # again\n")
        read_until(err, "samovar: failed: setup: predict.py:1: no")
        read_until(err, "watching")
        gateway.push_error = None
        (folder / "predict.py").write_text("class Predictor:\n    def predict(self) -> str: ...\n")
        assert read_until(out, "me/mine:")
