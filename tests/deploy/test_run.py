"""`samovar run`, as a user types it, against the live stack and against a fake gateway."""

import signal
import subprocess
import time
from pathlib import Path

import pytest
from msgspec import json

from benchmarks.stack import SAMOVAR, Stack
from tests.deploy.command_line import TIMEOUT, environment, samovar
from tests.deploy.fake_gateway import FakeGateway
from tests.live import stack

__all__ = ["stack"]


def test_an_output_in_one_piece_is_printed_bare(stack: Stack) -> None:
    result = samovar(stack, "run", "samovar/hello-world", "-i", "text=world")
    assert (result.returncode, result.stdout) == (0, "hello world\n")


def test_an_output_in_chunks_is_printed_as_it_arrives(stack: Stack) -> None:
    result = samovar(stack, "run", "samovar/count", "-i", "n=3")
    assert (result.returncode, result.stdout) == (0, "0\n1\n2\n")


def test_json_is_the_whole_prediction(stack: Stack) -> None:
    result = samovar(stack, "run", "samovar/count", "-i", "n=2", "--json")
    prediction = json.decode(result.stdout)
    assert (prediction["status"], prediction["output"], prediction["input"]) == ("succeeded", ["0", "1"], {"n": 2})


def test_a_version_can_be_named(stack: Stack) -> None:
    model = json.decode(samovar(stack, "models", "show", "samovar/hello-world", "--json").stdout)
    ref = f"samovar/hello-world:{model['latest_version']['id']}"
    assert samovar(stack, "run", ref, "-i", "text=you").stdout == "hello you\n"


def test_files_from_a_model_are_saved_and_their_paths_printed(stack: Stack, tmp_path: Path) -> None:
    arguments = ("run", "samovar/painter", "-i", "text=blue", "-i", "count=2", "--output-dir", str(tmp_path))
    first, second = samovar(stack, *arguments), samovar(stack, *arguments)
    assert first.returncode == 0, first.stderr
    saved = [Path(line) for line in (first.stdout + second.stdout).splitlines()]
    assert len(set(saved)) == 4
    assert [path.read_text() for path in saved] == ["blue 0", "blue 1"] * 2


def test_logs_go_to_stderr_and_a_failure_is_the_exit_status(stack: Stack) -> None:
    result = samovar(stack, "run", "samovar/speaker", "-i", "fail=true")
    assert result.returncode == 1
    assert "five: grüße" in result.stderr
    assert "samovar: failed: " in result.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param(("-i", "n=many"), "samovar: input n: 'many' is not a whole number\n", id="another type"),
        pytest.param(("-i", "n=-1"), "samovar: input.n: Must be greater than or equal to 0\n", id="out of bounds"),
        pytest.param((), "samovar: input: n is required\n", id="missing"),
        pytest.param(("-i", "m=1"), "samovar: input m: the model has no such input; it has n, delay\n", id="unknown"),
    ],
)
def test_a_refused_input_is_named_with_the_reason(stack: Stack, arguments: tuple[str, ...], expected: str) -> None:
    result = samovar(stack, "run", "samovar/count", *arguments)
    assert (result.returncode, result.stdout, result.stderr) == (1, "", expected)


def test_an_interrupt_cancels_the_prediction(stack: Stack) -> None:
    command = [SAMOVAR, "run", "samovar/count", "-i", "n=1000", "-i", "delay=0.05"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(stack)) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"0\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT) == 130
        stderr = process.stderr.read().decode()
    id = stderr.rstrip().rsplit(" ", 1)[1]
    assert f"canceled {id}" in stderr
    deadline = time.monotonic() + TIMEOUT
    while json.decode(samovar(stack, "predictions", "show", id).stdout)["status"] != "canceled":
        assert time.monotonic() < deadline


VERSION = "d" * 64


RUN = ("run", f"me/mine:{VERSION}", "-i", "text=x", "-i", "image=https://example.com/x.png")


@pytest.fixture
def cold(gateway: FakeGateway) -> FakeGateway:
    """A gateway whose model no runner has loaded."""
    gateway.versions = [VERSION]
    gateway.starting_reasons = ["queued", "downloading weights", "downloading weights", "loading"]
    return gateway


@pytest.mark.parametrize("streams", [True, False])
def test_a_run_shows_what_its_prediction_waits_for(cold: FakeGateway, streams: bool) -> None:
    cold.has_stream = streams
    result = samovar(cold, *RUN)
    assert (result.returncode, result.stdout) == (0, "made\n"), result.stderr
    assert result.stderr.splitlines()[:2] == ["samovar: starting: downloading weights", "samovar: starting: loading"]


def test_a_watch_shows_what_its_prediction_waits_for(cold: FakeGateway) -> None:
    cold.has_stream = True
    result = samovar(cold, "predictions", "watch", "x1")
    assert result.returncode == 0, result.stderr
    assert result.stderr.splitlines()[:3] == [
        "samovar: starting: downloading weights",
        "samovar: starting: loading",
        "samovar: processing",
    ]


def test_a_large_file_is_uploaded_and_a_small_one_is_sent_inline(gateway: FakeGateway, tmp_path: Path) -> None:
    gateway.versions = ["ab" * 32]
    (tmp_path / "large.bin").write_bytes(b"L" * 300_000)
    (tmp_path / "small.bin").write_bytes(b"S")
    samovar(gateway, "run", "me/mine:abab", "-i", f"image=@{tmp_path / 'large.bin'}")
    samovar(gateway, "run", "me/mine:abab", "-i", f"image=@{tmp_path / 'small.bin'}")
    large, small = (input["image"] for input in gateway.inputs)
    assert large == f"{gateway.url}/v1/files/f1"
    assert b"L" * 300_000 in gateway.uploads[0]
    assert b'filename="large.bin"' in gateway.uploads[0]
    assert small == "data:application/octet-stream;base64,Uw=="


def test_a_gateway_that_takes_no_uploads_gets_files_inline(gateway: FakeGateway, tmp_path: Path) -> None:
    gateway.versions, gateway.accepts_files = ["ab" * 32], False
    (tmp_path / "large.txt").write_bytes(b"L" * 300_000)
    result = samovar(gateway, "run", "me/mine:abab", "-i", f"image=@{tmp_path / 'large.txt'}")
    assert (result.returncode, result.stdout) == (0, "made\n")
    assert gateway.inputs[0]["image"].startswith("data:text/plain;base64,TExM")
