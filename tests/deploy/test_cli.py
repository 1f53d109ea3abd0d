"""The client commands, as a user types them, against the live stack."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from msgspec import json

from benchmarks.stack import SAMOVAR, Stack
from tests.live import stack

__all__ = ["stack"]

LIMIT = 60


def environment(stack: Stack, **others: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SAMOVAR_")}
    return kept | {"SAMOVAR_URL": stack.url, "SAMOVAR_TOKEN": stack.token} | others


def samovar(stack: Stack, *words: str, **others: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SAMOVAR, *words], capture_output=True, text=True, timeout=LIMIT, env=environment(stack, **others)
    )


def test_an_output_in_one_piece_is_printed_bare(stack: Stack) -> None:
    done = samovar(stack, "run", "samovar/hello-world", "-i", "text=world")
    assert (done.returncode, done.stdout) == (0, "hello world\n")


def test_an_output_that_grows_is_printed_as_it_comes(stack: Stack) -> None:
    done = samovar(stack, "run", "samovar/count", "-i", "n=3")
    assert (done.returncode, done.stdout) == (0, "0\n1\n2\n")


def test_for_machines_there_is_the_whole_prediction(stack: Stack) -> None:
    done = samovar(stack, "run", "samovar/count", "-i", "n=2", "--json")
    prediction = json.decode(done.stdout)
    assert (prediction["status"], prediction["output"], prediction["input"]) == ("succeeded", ["0", "1"], {"n": 2})


def test_a_version_can_be_named(stack: Stack) -> None:
    model = json.decode(samovar(stack, "models", "show", "samovar/hello-world", "--json").stdout)
    ref = f"samovar/hello-world:{model['latest_version']['id']}"
    assert samovar(stack, "run", ref, "-i", "text=you").stdout == "hello you\n"


def test_files_that_a_model_makes_are_saved_and_named(stack: Stack, tmp_path: Path) -> None:
    words = ("run", "samovar/painter", "-i", "text=blue", "-i", "count=2", "--output-dir", str(tmp_path))
    first, second = samovar(stack, *words), samovar(stack, *words)
    assert first.returncode == 0, first.stderr
    saved = [Path(line) for line in (first.stdout + second.stdout).splitlines()]
    assert len(set(saved)) == 4
    assert [path.read_text() for path in saved] == ["blue 0", "blue 1"] * 2


def test_what_a_model_logs_goes_to_stderr_and_its_failure_is_the_exit_status(stack: Stack) -> None:
    done = samovar(stack, "run", "samovar/speaker", "-i", "fail=true")
    assert done.returncode == 1
    assert "five: grüße" in done.stderr
    assert "samovar: failed: " in done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        pytest.param(("-i", "n=many"), "samovar: input n: 'many' is not a whole number\n", id="another type"),
        pytest.param(("-i", "n=-1"), "samovar: input.n: Must be greater than or equal to 0\n", id="out of bounds"),
        pytest.param((), "samovar: input: n is required\n", id="missing"),
        pytest.param(("-i", "m=1"), "samovar: input m: the model has no such input; it has n, delay\n", id="unknown"),
    ],
)
def test_a_refused_input_is_named_with_the_reason(stack: Stack, words: tuple[str, ...], told: str) -> None:
    done = samovar(stack, "run", "samovar/count", *words)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", told)


def test_an_interrupt_cancels_the_prediction(stack: Stack) -> None:
    command = [SAMOVAR, "run", "samovar/count", "-i", "n=1000", "-i", "delay=0.05"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(stack)) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"0\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT) == 130
        said = process.stderr.read().decode()
    id = said.rstrip().rsplit(" ", 1)[1]
    assert f"canceled {id}" in said
    deadline = time.monotonic() + LIMIT
    while json.decode(samovar(stack, "predictions", "show", id).stdout)["status"] != "canceled":
        assert time.monotonic() < deadline


def test_a_prediction_is_watched_from_its_beginning(stack: Stack) -> None:
    id = json.decode(samovar(stack, "run", "samovar/count", "-i", "n=3", "--json").stdout)["id"]
    done = samovar(stack, "predictions", "watch", id)
    assert (done.returncode, done.stdout) == (0, "0\n1\n2\n")
    events = [json.decode(line) for line in samovar(stack, "predictions", "watch", id, "--json").stdout.splitlines()]
    assert [event["data"] for event in events if event["event"] == "output"] == ["0", "1", "2"]
    assert events[-1]["event"] == "done"


def test_lists_are_tab_separated_in_a_pipe(stack: Stack) -> None:
    id = json.decode(samovar(stack, "run", "samovar/hello-world", "-i", "text=x", "--json").stdout)["id"]
    line = samovar(stack, "predictions", "list", "-n", "1").stdout
    assert line.split("\t")[:3] == [id, "samovar/hello-world", "succeeded"]
    names = [line.split("\t")[0] for line in samovar(stack, "models", "list").stdout.splitlines()]
    assert {"samovar/hello-world", "samovar/count"} <= set(names)
    assert samovar(stack, "models", "show", "samovar/count").stdout.splitlines()[0].split("\t")[:3] == [
        "n",
        "integer",
        "required",
    ]


def test_a_prediction_that_is_over_stays_as_it_is_when_canceled(stack: Stack) -> None:
    id = json.decode(samovar(stack, "run", "samovar/hello-world", "-i", "text=x", "--json").stdout)["id"]
    assert samovar(stack, "predictions", "cancel", id).stdout == "succeeded\n"


def test_the_runner_of_the_stack_is_there(stack: Stack) -> None:
    done = samovar(stack, "runners", "--json")
    [runner] = json.decode(done.stdout)["runners"]
    assert runner["pool"] == "default"
    assert samovar(stack, "runners").returncode == 0


def test_the_token_that_is_kept_is_used_on_this_machine(stack: Stack) -> None:
    data_dir = str(stack.data_dir)
    assert samovar(stack, "token", "--data-dir", data_dir).stdout == f"{stack.token}\n"
    kept = samovar(stack, "models", "list", SAMOVAR_TOKEN="", SAMOVAR_DATA_DIR=data_dir)
    assert kept.returncode == 0, kept.stderr


@pytest.mark.parametrize(
    ("others", "told"),
    [
        pytest.param({"SAMOVAR_TOKEN": "wrong"}, "You did not pass a valid authentication token", id="a wrong token"),
        pytest.param({"SAMOVAR_URL": "http://127.0.0.1:1"}, "is `samovar up` running?", id="nobody there"),
        pytest.param({"SAMOVAR_URL": "localhost"}, "it begins with http://", id="no URL"),
        pytest.param({"SAMOVAR_TOKN": "x"}, "did you mean SAMOVAR_TOKEN?", id="a typo"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(stack: Stack, others: dict[str, str], told: str) -> None:
    done = samovar(stack, "models", "list", **others)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert told in done.stderr


def test_help_needs_nothing_heavy() -> None:
    code = "import sys, deploy.cli.main; print(*sorted({'torch', 'litestar', 'httpx', 'nats'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True).stdout == "\n"


def test_predictions_are_followed_as_they_happen(stack: Stack) -> None:
    following = subprocess.Popen(
        [SAMOVAR, "predictions", "follow"], bufsize=0, stdout=subprocess.PIPE, env=environment(stack)
    )
    with following:
        assert following.stdout is not None
        os.set_blocking(following.stdout.fileno(), False)
        told, until = b"", time.monotonic() + LIMIT
        try:
            while (
                b"\tsucceeded\t" not in told and time.monotonic() < until
            ):  # it may not listen yet when the first ends
                samovar(stack, "run", "samovar/hello-world", "-i", "text=world")
                told += following.stdout.read() or b""  # None: nothing yet
        finally:
            following.send_signal(signal.SIGINT)
    assert following.returncode == 130
    lines = [line.split("\t") for line in told.decode().splitlines()]
    assert {line[1] for line in lines} == {"samovar/hello-world"}
    assert {line[2] for line in lines} >= {"starting", "succeeded"}
