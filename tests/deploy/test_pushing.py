"""`samovar push`, `models` and `gc`, as a user types them, against a gateway that answers as it is told."""

import io
import signal
import subprocess
import tarfile
from pathlib import Path

import pytest
import yaml
from msgspec import json

from benchmarks.stack import SAMOVAR
from tests.deploy.fake import LIMIT, FakeGateway, environment, samovar


def packed(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        files = {member.name: tar.extractfile(member) for member in tar}
        return {name: file.read() for name, file in files.items() if file}


def test_a_folder_is_packed_sent_and_followed(gateway: FakeGateway, folder: Path) -> None:
    done = samovar(gateway, "push", folder, "me/mine")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"me/mine:{gateway.versions[0]}\n"
    assert packed(gateway.uploaded[0]) == {
        "cog.yaml": (folder / "cog.yaml").read_bytes(),
        "predict.py": (folder / "predict.py").read_bytes(),
    }
    lines = done.stderr.splitlines()
    assert lines.index("== fetch") < lines.index("== setup")
    assert lines[-1] == "samovar: call it: samovar run me/mine -i text=… -i image=@FILE"


@pytest.mark.parametrize(
    ("own", "sent"),
    [
        pytest.param("", ["SAMOVAR_MAX_BATCH_SIZE=8", "SAMOVAR_MAX_BATCH_WAIT_MS=2.5"], id="it had no environment"),
        pytest.param(
            "environment: [A=1, SAMOVAR_MAX_BATCH_SIZE=2]\n",
            ["A=1", "SAMOVAR_MAX_BATCH_SIZE=8", "SAMOVAR_MAX_BATCH_WAIT_MS=2.5"],
            id="it said otherwise",
        ),
    ],
)
def test_the_operators_word_on_batches_is_sent_along(
    gateway: FakeGateway, folder: Path, own: str, sent: list[str]
) -> None:
    with (folder / "cog.yaml").open("a") as file:
        file.write(own)
    before = (folder / "cog.yaml").read_bytes()
    options = ("--max-batch-size", "8", "--max-batch-wait-ms", "2.5")
    done = samovar(gateway, "push", folder, "me/mine", *options)
    assert done.returncode == 0, done.stderr
    said = yaml.safe_load(packed(gateway.uploaded[0])["cog.yaml"])
    assert said == yaml.safe_load(before) | {"environment": sent}
    assert (folder / "cog.yaml").read_bytes() == before
    again = samovar(gateway, "push", folder, "me/mine", *options)
    assert again.stdout == done.stdout
    assert len(gateway.uploaded) == 1


def test_a_batch_of_none_is_refused(gateway: FakeGateway, folder: Path) -> None:
    done = samovar(gateway, "push", folder, "me/mine", "--max-batch-size", "0")
    assert done.returncode != 0
    assert "max-batch-size" in done.stdout + done.stderr
    assert gateway.uploaded == []


def test_a_version_that_is_there_is_not_uploaded_again(gateway: FakeGateway, folder: Path) -> None:
    first = samovar(gateway, "push", folder, "me/mine")
    second = samovar(gateway, "push", folder, "me/mine")
    assert (second.returncode, second.stdout) == (0, first.stdout)
    assert "there already" in second.stderr
    assert len(gateway.uploaded) == 1


def test_a_failed_push_says_why_and_what_goes_on_serving(gateway: FakeGateway, folder: Path) -> None:
    gateway.versions = ["ab" * 32]
    gateway.error = "setup: predict.py:7: RuntimeError: no"
    done = samovar(gateway, "push", folder, "me/mine")
    assert (done.returncode, done.stdout) == (1, "")
    assert "== setup" in done.stderr
    assert "samovar: failed: setup: predict.py:7: RuntimeError: no\n" in done.stderr
    assert f"me/mine goes on serving its last good version, {'ab' * 6}" in done.stderr


def test_for_machines_there_is_the_whole_push(gateway: FakeGateway, folder: Path) -> None:
    gateway.error = "import: predict.py:1: no"
    push = json.decode(samovar(gateway, "push", folder, "me/mine", "--json").stdout)
    assert (push["status"], push["error"]) == ("failed", gateway.error)


def test_an_interrupt_cancels_the_push(gateway: FakeGateway, folder: Path) -> None:
    gateway.hold.clear()
    command = [SAMOVAR, "push", folder, "me/mine"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment(gateway)) as process:
        assert process.stderr is not None
        while process.stderr.readline() != "== setup\n":
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT) == 130
    assert gateway.canceled.is_set()


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        pytest.param("cog.yaml", None, "samovar: config: cog.yaml: there is no such file", id="no cog.yaml"),
        pytest.param("cog.yaml", "a: [\n", "samovar: config: cog.yaml:2: ", id="no YAML"),
        pytest.param("cog.yaml", "predict: a.py:P\nbild: {}\n", "samovar: config: cog.yaml:2: bild", id="unknown key"),
        pytest.param("predict.py", None, "samovar: config: cog.yaml:1: ", id="no predictor"),
    ],
)
def test_what_is_wrong_with_a_folder_is_told_before_anything_is_sent(
    gateway: FakeGateway, folder: Path, file: str, content: str | None, told: str
) -> None:
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_text(content)
    done = samovar(gateway, "push", folder, "me/mine")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(told), done.stderr
    assert gateway.asked == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        pytest.param(("push", "/no/such", "me/mine"), "/no/such: there is no such folder", id="folder"),
        pytest.param(("push", ".", "mine"), "mine: a model is named owner/name", id="model"),
        pytest.param(("push", ".", "me/mine", "-i", "a=b"), "-i goes with --watch", id="inputs alone"),
        pytest.param(("models", "show", "me/mine:xyz"), "a version is 64 hex digits, or the first", id="no hex"),
        pytest.param(("models", "show", "me/mine:abc"), "4 at least", id="too few digits"),
        pytest.param(("models", "delete", "me/mine"), "say --yes", id="nobody to ask"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(gateway: FakeGateway, words: tuple[str, ...], told: str) -> None:
    done = samovar(gateway, *words)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert told in done.stderr


def test_the_first_digits_name_a_version_if_only_one_begins_so(gateway: FakeGateway) -> None:
    gateway.versions = ["abcd" + "0" * 60, "abcd" + "1" * 60, "beef" + "0" * 60]
    assert f"GET /v1/models/me/mine/versions/{'beef' + '0' * 60}" in asked(gateway, "models", "show", "me/mine:beef")
    several = samovar(gateway, "models", "show", "me/mine:abcd")
    assert all(id in several.stderr for id in gateway.versions[:2])
    assert "no version begins so" in samovar(gateway, "models", "show", "me/mine:0123").stderr


def test_versions_are_listed_newest_first_and_the_one_that_answers_is_marked(gateway: FakeGateway) -> None:
    gateway.versions = ["ab" * 32, "cd" * 32]
    lines = [line.split("\t") for line in samovar(gateway, "models", "versions", "me/mine").stdout.splitlines()]
    assert [(line[0], line[2]) for line in lines] == [("ab" * 32, "latest"), ("cd" * 32, "")]


def test_the_log_of_a_version_is_printed_as_it_is(gateway: FakeGateway) -> None:
    gateway.versions = ["ab" * 32, "cd" * 32]
    assert samovar(gateway, "models", "logs", "me/mine").stdout == gateway.log
    assert f"GET /v1/models/me/mine/versions/{'ab' * 32}/logs" in said(gateway)
    samovar(gateway, "models", "logs", "me/mine:cdcd")
    assert f"GET /v1/models/me/mine/versions/{'cd' * 32}/logs" in said(gateway)


@pytest.mark.parametrize(
    ("ref", "path"),
    [
        pytest.param("me/mine", "DELETE /v1/models/me/mine", id="a model"),
        pytest.param("me/mine:abab", f"DELETE /v1/models/me/mine/versions/{'ab' * 32}", id="a version"),
    ],
)
def test_what_is_deleted_is_named(gateway: FakeGateway, ref: str, path: str) -> None:
    gateway.versions = ["ab" * 32]
    done = samovar(gateway, "models", "delete", ref, "--yes")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("deleted me/mine")
    assert path in said(gateway)


@pytest.mark.parametrize(("words", "freed"), [((), "could be freed"), (("--delete",), "freed")])
def test_what_nothing_uses_is_listed_with_its_size_and_reason(
    gateway: FakeGateway, words: tuple[str, ...], freed: str
) -> None:
    done = samovar(gateway, "gc", *words)
    assert done.stdout == "packs/x.tar\t1500\tno version is made of it\n"
    assert done.stderr.startswith(f"samovar: 1 file, 1.5 kB {freed}")
    assert said(gateway) == [f"{'POST' if words else 'GET'} /v1/gc"]


def asked(gateway: FakeGateway, *words: str) -> list[str]:
    samovar(gateway, *words)
    return said(gateway)


def said(gateway: FakeGateway) -> list[str]:
    return [f"{method} {path}" for method, path in gateway.asked]


def test_a_large_file_is_uploaded_and_a_small_one_goes_along(gateway: FakeGateway, tmp_path: Path) -> None:
    gateway.versions = ["ab" * 32]
    (tmp_path / "large.bin").write_bytes(b"L" * 300_000)
    (tmp_path / "small.bin").write_bytes(b"S")
    samovar(gateway, "run", "me/mine:abab", "-i", f"image=@{tmp_path / 'large.bin'}")
    samovar(gateway, "run", "me/mine:abab", "-i", f"image=@{tmp_path / 'small.bin'}")
    large, small = (input["image"] for input in gateway.inputs)
    assert large == f"{gateway.url}/v1/files/f1"
    assert b"L" * 300_000 in gateway.uploaded[0]
    assert b'filename="large.bin"' in gateway.uploaded[0]
    assert small == "data:application/octet-stream;base64,Uw=="


def test_a_gateway_that_takes_no_files_gets_them_along(gateway: FakeGateway, tmp_path: Path) -> None:
    gateway.versions, gateway.takes_files = ["ab" * 32], False
    (tmp_path / "large.txt").write_bytes(b"L" * 300_000)
    done = samovar(gateway, "run", "me/mine:abab", "-i", f"image=@{tmp_path / 'large.txt'}")
    assert (done.returncode, done.stdout) == (0, "made\n")
    assert gateway.inputs[0]["image"].startswith("data:text/plain;base64,TExM")
