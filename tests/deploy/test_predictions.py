"""`samovar predictions`, as a user types it, against the live stack and against a fake gateway."""

import os
import signal
import subprocess
import time

from msgspec import json

from benchmarks.stack import SAMOVAR, Stack
from tests.deploy.command_line import TIMEOUT, environment, samovar
from tests.deploy.fake_gateway import FakeGateway
from tests.live import stack

__all__ = ["stack"]


def test_a_prediction_is_watched_from_its_beginning(stack: Stack) -> None:
    id = json.decode(samovar(stack, "run", "samovar/count", "-i", "n=3", "--json").stdout)["id"]
    result = samovar(stack, "predictions", "watch", id)
    assert (result.returncode, result.stdout) == (0, "0\n1\n2\n")
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


def test_canceling_a_final_prediction_changes_nothing(stack: Stack) -> None:
    id = json.decode(samovar(stack, "run", "samovar/hello-world", "-i", "text=x", "--json").stdout)["id"]
    assert samovar(stack, "predictions", "cancel", id).stdout == "succeeded\n"


def test_predictions_are_followed_as_they_happen(stack: Stack) -> None:
    process = subprocess.Popen(
        [SAMOVAR, "predictions", "follow"], bufsize=0, stdout=subprocess.PIPE, env=environment(stack)
    )
    with process:
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        output, deadline = b"", time.monotonic() + TIMEOUT
        try:
            while (
                b"\tsucceeded\t" not in output and time.monotonic() < deadline
            ):  # it may not listen yet when the first ends
                samovar(stack, "run", "samovar/hello-world", "-i", "text=world")
                output += process.stdout.read() or b""  # None: nothing yet
        finally:
            process.send_signal(signal.SIGINT)
    assert process.returncode == 130
    lines = [line.split("\t") for line in output.decode().splitlines()]
    assert {line[1] for line in lines} == {"samovar/hello-world"}
    assert {line[2] for line in lines} >= {"starting", "succeeded"}


def test_filters_go_into_the_query(gateway: FakeGateway):
    gateway.prediction_ids = ["k3v7zq1b5drm80cs2n9gt4w6xa"]
    result = samovar(gateway, "predictions", "list", "--source", "web", "--since", "2026-01-01T00:00:00Z")
    assert result.stdout.split("\t")[0] == gateway.prediction_ids[0], result.stderr
    assert gateway.queries == ["source=web&created_after=2026-01-01T00%3A00%3A00Z"]


def test_the_beginning_of_an_id_suffices(gateway: FakeGateway):
    gateway.prediction_ids = ["k3v7zq1b5drm80cs2n9gt4w6xa", "k3v7000000000000000000000a"]
    samovar(gateway, "predictions", "cancel", "k3v7z")
    assert gateway.requests[-1] == ("POST", "/v1/predictions/k3v7zq1b5drm80cs2n9gt4w6xa/cancel")
    ambiguous = samovar(gateway, "predictions", "show", "k3v7")
    assert (ambiguous.returncode, "several predictions begin with this" in ambiguous.stderr) == (1, True)


def test_following_resumes_when_a_connection_breaks_off(gateway: FakeGateway):
    gateway.prediction_ids = ["k3v7zq1b5drm80cs2n9gt4w6xa"]
    gateway.may_finish.clear()
    command = [SAMOVAR, "predictions", "follow"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment(gateway)) as process:
        assert process.stdout is not None
        first, second = process.stdout.readline(), process.stdout.readline()
        process.terminate()
    assert first.rstrip("\n").split("\t") == [
        gateway.prediction_ids[0],
        "me/mine",
        "starting",
        "2026-01-31T12:00:00Z",
        "",
        "",
    ]
    assert second.rstrip("\n").split("\t")[2:] == ["failed", "2026-01-31T12:00:01Z", "1.0", "no way"]
    assert gateway.last_event_ids == [None, "1:prediction"]
