"""`samovar bench run`, as its users type it: what it refuses, and every protocol against a stack."""

import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from msgspec import json

from benchmarks.samples import Repeat, read_measurements
from benchmarks.stack import SAMOVAR, Stack, running_stack

HERE = Path(__file__).parents[2] / "benchmarks"
MODELS = HERE / "models"
SHORT = ("--seconds", "0.5", "--warm-up", "0.2", "--repeats", "2")


def run_bench(*arguments: str | Path, stdin: str | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SAMOVAR_")}
    return subprocess.run(
        [SAMOVAR, "bench", *arguments],
        env=inherited | env,
        input=stdin or "",
        capture_output=True,
        text=True,
        timeout=100,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["a/b", "--arrivals", "poisson"], "needs a rate: add --rate", id="arrivals at no rate"),
        pytest.param(
            ["a/b", "--arrivals", "closed", "--rate", "3"],
            "such clients wait for their answers",
            id="closed, at a rate",
        ),
        pytest.param(["a/b", "--cold", "--url", "http://h"], "starts a stack of its own", id="cold elsewhere"),
        pytest.param(["a/b", "--protocol", "plain"], "is for another server: add --url", id="plain, and no server"),
        pytest.param(["a/b", "--inputs", "nowhere.json"], "nowhere.json: No such file", id="no file"),
        pytest.param(
            ["a/b", "--inputs", "/dev/stdin"],
            "line 2: not a JSON object",
            id="a line that is none",
        ),
        pytest.param(["a/b", "--url", "http://127.0.0.1:1"], "cannot reach http://127.0.0.1:1", id="nobody there"),
        pytest.param(
            ["--protocol", "plain", "--url", "http://127.0.0.1:1/x"], "cannot reach http://127.0.0.1:1: ", id="no rival"
        ),
    ],
)
def test_an_error_of_usage_is_one_line(arguments: list[str], message: str) -> None:
    done = run_bench("run", *arguments, stdin='{"text": "x"}\n["no object"]\n')
    assert done.returncode == 1
    assert done.stdout == ""
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_results_need_files(tmp_path: Path) -> None:
    broken = tmp_path / "broken.jsonl"
    broken.write_text("[1, 2]\n")
    none, unread = run_bench("results"), run_bench("results", str(broken))
    assert "Name at least one file" in none.stderr
    assert f"{broken}, line 1: a sample before any repeat" in unread.stderr
    assert (none.returncode, unread.returncode) == (1, 1)


def test_other_commands_import_no_benchmarks() -> None:
    code = "import sys; from deploy.cli.main import app; app(['hardware', '--help'], result_action='return_value')"
    message = "print([name for name in sys.modules if name.split('.')[0] in ('benchmarks', 'matplotlib', 'hdrh')])"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{message}"], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_benchmarks_do_not_import_tests() -> None:
    sources = [path for path in HERE.rglob("*.py") if "predictors" not in path.parts]
    assert [path for path in sources if "from tests" in path.read_text() or "import tests" in path.read_text()] == []


@pytest.fixture(scope="module")
def stack() -> Generator[Stack]:
    with running_stack(models=[MODELS]) as stack:
        yield stack


def run_and_read(stack: Stack, folder: Path, *arguments: str) -> list[Repeat]:
    """What it kept; all of it is as it should be."""
    out = folder / "samples.jsonl.gz"
    done = run_bench("run", *arguments, *SHORT, "--url", stack.url, "--out", out, SAMOVAR_TOKEN=stack.token)
    assert done.returncode == 0, done.stderr
    repeats = [one for one in read_measurements(out) if isinstance(one, Repeat)]
    assert [repeat.number for repeat in repeats] == [1, 2]
    assert {sample.error for repeat in repeats for sample in repeat.samples} == {None}
    return repeats


@pytest.mark.slow
@pytest.mark.parametrize("load", [["--clients", "4"], ["--rate", "50"], ["--rate", "50", "--arrivals", "constant"]])
@pytest.mark.parametrize(
    "options",
    [
        pytest.param(["samovar/noop", "-i", "text=tea"], id="sync"),
        pytest.param(["samovar/noop", "-i", "text=tea", "--protocol", "async"], id="async"),
        pytest.param(["samovar/minilm", "-i", "text=tea", "--protocol", "async"], id="async, an output in one piece"),
        pytest.param(["samovar/sleep", "-i", "text=tea", "-i", "seconds=60", "--protocol", "cancel"], id="cancel"),
    ],
)
def test_a_protocol_works_under_load(stack: Stack, tmp_path: Path, options: list[str], load: list[str]) -> None:
    for repeat in run_and_read(stack, tmp_path, *options, *load):
        assert repeat.samples
        assert "commit" in repeat.stages


@pytest.mark.slow
def test_a_stream_has_a_first_event_and_gaps(stack: Stack, tmp_path: Path) -> None:
    for repeat in run_and_read(stack, tmp_path, "samovar/tokens", "-i", "count=20", "--protocol", "stream"):
        assert {len(sample.gaps) for sample in repeat.samples} == {19}
        assert all(sample.first is not None and sample.first <= sample.latency for sample in repeat.samples)


@pytest.mark.slow
def test_models_and_their_inputs_take_turns(stack: Stack, tmp_path: Path) -> None:
    lines = tmp_path / "inputs.jsonl"
    own = {"model": "samovar/tokens", "input": {"count": 3}}
    lines.write_bytes(b"\n".join(json.encode(line) for line in ({"text": "one"}, {"text": "two"}, own)))
    repeats = run_and_read(stack, tmp_path, "samovar/noop", "samovar/hello-world", "--inputs", str(lines))
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
    listing = subprocess.run(
        [SAMOVAR, "models", "versions", "samovar/noop"], env=os.environ | headers, capture_output=True, text=True
    )
    assert run_and_read(stack, tmp_path, f"samovar/noop:{listing.stdout.split()[0]}", "-i", "text=x")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["samovar/nope"], "could not be found", id="no model"),
        pytest.param(["samovar/noop", "-i", "count=3"], "it has text", id="no such input"),
        pytest.param(["samovar/noop", "samovar/sleep", "-i", "count=3"], "none of the models has", id="of neither"),
        pytest.param(["samovar/tokens", "--inputs", "/dev/stdin"], "status 422: input.count", id="a wrong input"),
    ],
)
def test_a_refusal_of_the_stack_is_one_line(stack: Stack, arguments: list[str], message: str) -> None:
    done = run_bench("run", *arguments, "--url", stack.url, stdin='{"count": "many"}', SAMOVAR_TOKEN=stack.token)
    assert done.returncode == 1
    assert message in done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_a_cold_measurement_starts_a_worker_for_each_repeat(tmp_path: Path) -> None:
    out, page = tmp_path / "cold.jsonl", tmp_path / "report.html"
    done = run_bench(
        "run", "samovar/hello-world", "-i", "text=x", "--cold", "--repeats", "2", "--out", out, "--html", page
    )
    assert done.returncode == 0, done.stderr
    repeats = [one for one in read_measurements(out) if isinstance(one, Repeat)]
    assert [len(repeat.samples) for repeat in repeats] == [1, 1]
    assert all(repeat.stages["queue"] > 10 * repeat.stages["run"] for repeat in repeats)
    assert all(repeat.cpu["worker"] > 0 for repeat in repeats)
    assert page.read_text().startswith("<!")
