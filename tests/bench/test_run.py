"""`samovar bench run`, as its users type it: what it refuses, and every protocol against a stack."""

import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from msgspec import json

from benchmarks.samples import Repeat, read
from benchmarks.stack import SAMOVAR, Stack, running

HERE = Path(__file__).parents[2] / "benchmarks"
MODELS = HERE / "models"
SHORT = ("--seconds", "0.5", "--warm-up", "0.2", "--repeats", "2")


def bench(*arguments: str | Path, stdin: str | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SAMOVAR_")}
    return subprocess.run(
        [SAMOVAR, "bench", *arguments], env=kept | env, input=stdin or "", capture_output=True, text=True, timeout=100
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        pytest.param(["a/b", "--arrivals", "poisson"], "at which --rate?", id="arrivals at no rate"),
        pytest.param(["a/b", "--arrivals", "closed", "--rate", "3"], "no rate of their own", id="closed, at a rate"),
        pytest.param(["a/b", "--cold", "--url", "http://h"], "a stack of its own", id="cold elsewhere"),
        pytest.param(["a/b", "--protocol", "plain"], "--url names", id="plain, and no server"),
        pytest.param(["a/b", "--inputs", "nowhere.json"], "nowhere.json: No such file", id="no file"),
        pytest.param(
            ["a/b", "--inputs", "/dev/stdin"],
            "line 2: a JSON object was expected",
            id="a line that is none",
        ),
        pytest.param(["a/b", "--url", "http://127.0.0.1:1"], "cannot reach http://127.0.0.1:1", id="nobody there"),
        pytest.param(
            ["--protocol", "plain", "--url", "http://127.0.0.1:1/x"], "cannot reach http://127.0.0.1:1: ", id="no rival"
        ),
    ],
)
def test_what_cannot_be_measured_is_told_in_one_line(arguments: list[str], told: str) -> None:
    done = bench("run", *arguments, stdin='{"text": "x"}\n["no object"]\n')
    assert done.returncode == 1
    assert done.stdout == ""
    assert told in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_results_are_written_from_files_and_from_nothing_else(tmp_path: Path) -> None:
    broken = tmp_path / "broken.jsonl"
    broken.write_text("[1, 2]\n")
    none, unread = bench("results"), bench("results", str(broken))
    assert "Name at least one file" in none.stderr
    assert f"{broken}, line 1: a sample before any repeat" in unread.stderr
    assert (none.returncode, unread.returncode) == (1, 1)


def test_other_commands_load_nothing_of_the_benchmarks() -> None:
    code = "import sys; from deploy.cli.main import app; app(['hardware', '--help'], result_action='return_value')"
    told = "print([name for name in sys.modules if name.split('.')[0] in ('benchmarks', 'matplotlib', 'hdrh')])"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{told}"], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_benchmarks_stand_without_the_tests() -> None:
    sources = [path for path in HERE.rglob("*.py") if "predictors" not in path.parts]
    assert [path for path in sources if "from tests" in path.read_text() or "import tests" in path.read_text()] == []


@pytest.fixture(scope="module")
def stack() -> Generator[Stack]:
    with running(models=[MODELS]) as stack:
        yield stack


def measured(stack: Stack, folder: Path, *arguments: str) -> list[Repeat]:
    """What it kept; all of it is as it should be."""
    out = folder / "samples.jsonl.gz"
    done = bench("run", *arguments, *SHORT, "--url", stack.url, "--out", out, SAMOVAR_TOKEN=stack.token)
    assert done.returncode == 0, done.stderr
    repeats = [one for one in read(out) if isinstance(one, Repeat)]
    assert [repeat.number for repeat in repeats] == [1, 2]
    assert {sample.error for repeat in repeats for sample in repeat.samples} == {None}
    return repeats


@pytest.mark.slow
@pytest.mark.parametrize("load", [["--clients", "4"], ["--rate", "50"], ["--rate", "50", "--arrivals", "constant"]])
@pytest.mark.parametrize(
    "asked",
    [
        pytest.param(["samovar/noop", "-i", "text=tea"], id="sync"),
        pytest.param(["samovar/noop", "-i", "text=tea", "--protocol", "async"], id="async"),
        pytest.param(["samovar/minilm", "-i", "text=tea", "--protocol", "async"], id="async, an output in one piece"),
        pytest.param(["samovar/sleep", "-i", "text=tea", "-i", "seconds=60", "--protocol", "cancel"], id="cancel"),
    ],
)
def test_a_protocol_does_under_a_load(stack: Stack, tmp_path: Path, asked: list[str], load: list[str]) -> None:
    for repeat in measured(stack, tmp_path, *asked, *load):
        assert repeat.samples
        assert "commit" in repeat.stages


@pytest.mark.slow
def test_a_stream_has_a_first_event_and_those_after_it(stack: Stack, tmp_path: Path) -> None:
    for repeat in measured(stack, tmp_path, "samovar/tokens", "-i", "count=20", "--protocol", "stream"):
        assert {len(sample.gaps) for sample in repeat.samples} == {19}
        assert all(sample.first is not None and sample.first <= sample.latency for sample in repeat.samples)


@pytest.mark.slow
def test_models_and_their_inputs_take_turns(stack: Stack, tmp_path: Path) -> None:
    lines = tmp_path / "inputs.jsonl"
    own = {"model": "samovar/tokens", "input": {"count": 3}}
    lines.write_bytes(b"\n".join(json.encode(line) for line in ({"text": "one"}, {"text": "two"}, own)))
    repeats = measured(stack, tmp_path, "samovar/noop", "samovar/hello-world", "--inputs", str(lines))
    assert [request.model for request in repeats[0].plan.requests] == [
        "samovar/noop",
        "samovar/hello-world",
        "samovar/tokens",
        "samovar/noop",
        "samovar/hello-world",
    ]
    assert {sample.request for sample in repeats[0].samples} == set(range(5))


@pytest.mark.slow
def test_a_version_can_be_named(stack: Stack, tmp_path: Path) -> None:
    headers = {"SAMOVAR_URL": stack.url, "SAMOVAR_TOKEN": stack.token}
    shown = subprocess.run(
        [SAMOVAR, "models", "versions", "samovar/noop"], env=os.environ | headers, capture_output=True, text=True
    )
    assert measured(stack, tmp_path, f"samovar/noop:{shown.stdout.split()[0]}", "-i", "text=x")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        pytest.param(["samovar/nope"], "could not be found", id="no model"),
        pytest.param(["samovar/noop", "-i", "count=3"], "it has text", id="no such input"),
        pytest.param(["samovar/noop", "samovar/sleep", "-i", "count=3"], "none of the models has", id="of neither"),
        pytest.param(["samovar/tokens", "--inputs", "/dev/stdin"], "status 422: input.count", id="a wrong input"),
    ],
)
def test_what_a_stack_refuses_is_told_in_one_line(stack: Stack, arguments: list[str], told: str) -> None:
    done = bench("run", *arguments, "--url", stack.url, stdin='{"count": "many"}', SAMOVAR_TOKEN=stack.token)
    assert done.returncode == 1
    assert told in done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_a_stack_of_its_own_starts_cold_as_often_as_asked(tmp_path: Path) -> None:
    out, page = tmp_path / "cold.jsonl", tmp_path / "report.html"
    done = bench("run", "samovar/hello-world", "-i", "text=x", "--cold", "--repeats", "2", "--out", out, "--html", page)
    assert done.returncode == 0, done.stderr
    repeats = [one for one in read(out) if isinstance(one, Repeat)]
    assert [len(repeat.samples) for repeat in repeats] == [1, 1]
    assert all(repeat.stages["queue"] > 10 * repeat.stages["run"] for repeat in repeats)
    assert all(repeat.cpu["worker"] > 0 for repeat in repeats)
    assert page.read_text().startswith("<!")
