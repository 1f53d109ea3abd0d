"""`samovar runners`, as a user types it, and how it draws a fleet."""

import io
import os
import pty
import signal
import subprocess
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import IO, Any

import pytest
from msgspec import json
from rich.console import Console

from benchmarks.stack import SAMOVAR, Stack
from deploy.cli.terminal.fleet import format_lines, render_fleet
from tests.deploy.command_line import TIMEOUT, environment, samovar
from tests.deploy.fake_gateway import FakeGateway
from tests.live import stack

__all__ = ["stack"]


NOW = datetime(2026, 1, 5, 9, 10, tzinfo=UTC)
A, B, C = (letter * 64 for letter in "abc")


def instance(model: str, version: str, **more: Any) -> dict[str, Any]:
    common = {"number": 0, "state": "hot", "phase": None, "devices": ["cuda:0"], "memory": 450_000_000, "running": 0}
    times = {"since": "2026-01-05T09:00:00.000000Z", "used_at": None}
    return {"model": model, "version": version} | common | times | more


def queue(model: str, version: str, jobs: int, **more: Any) -> dict[str, Any]:
    common = {"pool": "default", "running": 0, "warm": False, "starting": None}
    return {"model": model, "version": version, "jobs": jobs} | common | more


FLEET: dict[str, Any] = {
    "runners": [
        {
            "agent": "agent-1",
            "host": "big",
            "pool": "gpu",
            "memory": {"limit": 8_000_000_000, "used": 2_000_000_000},
            "devices": [
                {
                    "name": "cuda:0",
                    "kind": "H100 [SXM]",
                    "memory": 80_000_000_000,
                    "planned": 8_000_000_000,
                    "cores": 0,
                },
                {"name": "cpu:0", "kind": "EPYC", "memory": 8_000_000_000, "planned": 0, "cores": 2},
            ],
            "instances": [
                instance("acme/busy", A, running=3, used_at="2026-01-05T09:09:58.000000Z"),
                instance("acme/idle", B, state="parked", devices=[], used_at="2026-01-05T09:08:00.000000Z"),
                instance("acme/new", C, state="starting", phase="loading", devices=[], memory=0),
            ],
            "counts": {"loads": 3},
        },
        {
            "agent": "old",
            "host": "old",
            "pool": "default",
            "memory": {"limit": 0, "used": 0},
            "devices": [],
            "instances": [],
            "counts": {},
        },
    ],
    "queues": [
        queue("acme/busy", A, 12, running=3, warm=True),
        queue("acme/cold", "d" * 64, 4),
        queue("acme/else", "e" * 64, 5, warm=True),
        queue("acme/new", C, 1, starting="loading"),
    ],
    "pushes": 2,
}


def test_in_a_pipe_there_is_a_line_for_each_instance_and_each_queue_without_one() -> None:
    assert [line.split("\t") for line in format_lines(FLEET, NOW)] == [
        ["big", "acme/busy", A, "hot", "cuda:0", "450000000", "3", "9", ""],
        ["big", "acme/idle", B, "parked", "", "450000000", "0", "0", "120"],
        ["big", "acme/new", C, "loading", "", "0", "0", "1", ""],
        ["", "acme/cold", "d" * 64, "cold", "", "", "", "4", ""],
        ["", "acme/else", "e" * 64, "warm", "", "", "", "5", ""],
    ]


def test_on_a_terminal_there_is_a_block_for_each_host() -> None:
    console = Console(file=io.StringIO(), width=120, force_terminal=True, no_color=True, color_system=None)
    console.print(render_fleet(FLEET, NOW))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    text_lines = [
        " ".join(line.split()).replace("━", "").replace("╸", "").replace("  ", " ") for line in text.splitlines()
    ]
    assert [line for line in text_lines if line] == [
        "big agent-1, pool gpu",
        "memory 25 % 2.0 GB of 8.0 GB",
        "cuda:0 10 % 8.0 GB of 80.0 GB planned H100 [SXM]",
        "cpu:0 0 % 0 B of 8.0 GB planned EPYC, 2 cores",
        "model version state device memory running queued idle for",
        "acme/busy aaaaaaaaaaaa hot cuda:0 450.0 MB 3 9",
        "acme/idle bbbbbbbbbbbb parked 450.0 MB 0 0 2 min",
        "acme/new cccccccccccc loading 0 1",
        "old pool default",
        "waiting, with no instance anywhere",
        "model version state queued",
        "acme/cold dddddddddddd cold 4",
        "acme/else eeeeeeeeeeee warm 5",
    ]


def test_json_is_what_the_api_returns(gateway: FakeGateway) -> None:
    gateway.runners = FLEET
    assert json.decode(samovar(gateway, "runners", "--json").stdout) == FLEET


def test_waiting_pushes_are_reported_on_stderr(gateway: FakeGateway) -> None:
    gateway.runners = FLEET
    result = samovar(gateway, "runners")
    assert (result.returncode, len(result.stdout.splitlines())) == (0, 5)
    assert result.stderr == "samovar: 2 pushes wait to be built, or are being built\n"


@contextmanager
def watching(gateway: FakeGateway, *arguments: str) -> Generator[IO[str]]:
    command = [SAMOVAR, "runners", "--watch", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment(gateway)) as process:
        assert process.stdout is not None
        yield process.stdout
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT) == 130


def test_a_watch_shows_every_change_until_an_interrupt(gateway: FakeGateway) -> None:
    gateway.runners = FLEET
    gateway.may_finish.clear()
    with watching(gateway) as out:
        assert len(list(iter(out.readline, "\n"))) == 5
        gateway.runners = {**FLEET, "queues": []}
        gateway.may_finish.set()
        assert len(list(iter(out.readline, "\n"))) == 3


def test_a_watch_with_json_prints_a_line_each_time(gateway: FakeGateway) -> None:
    gateway.runners = FLEET
    with watching(gateway, "--json") as out:
        assert [json.decode(out.readline()) for _ in range(2)] == [FLEET, FLEET]


def test_on_a_terminal_it_is_drawn_in_place(gateway: FakeGateway) -> None:
    gateway.runners = FLEET
    leader, follower = pty.openpty()
    command = [SAMOVAR, "runners", "--watch"]
    with subprocess.Popen(command, stdout=follower, env=environment(gateway) | {"TERM": "xterm"}) as process:
        os.close(follower)
        output = b""
        while b"acme/else" not in output:
            output += os.read(leader, 65_536)
        process.send_signal(signal.SIGINT)
        with suppress(OSError):  # at its end
            while os.read(leader, 65_536):
                pass
        assert process.wait(TIMEOUT) == 130
    os.close(leader)


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_a_fleet_without_runners_says_how_to_start_one(gateway: FakeGateway, arguments: tuple[str, ...]) -> None:
    result = samovar(gateway, "runners", *arguments)
    assert result.returncode == 0
    assert ("start one with `samovar runner`" in result.stderr) is (not arguments)


def test_the_runner_of_the_stack_is_there(stack: Stack) -> None:
    result = samovar(stack, "runners", "--json")
    [runner] = json.decode(result.stdout)["runners"]
    assert runner["pool"] == "default"
    assert samovar(stack, "runners").returncode == 0
