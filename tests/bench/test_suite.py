"""The suite: which rows it has, in which order, and that one that fails keeps no other from being measured."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import json

from benchmarks.aims import AIMS
from benchmarks.plans import MIXED_PREDICTORS, MODELS, PLAIN_ROWS, create_plan
from benchmarks.rivals.server_process import row_title
from benchmarks.samples import Figure, Repeat, read_measurements
from benchmarks.special.client import CLOCK_OFFSET, StreamPieces, are_in_order, event_ages
from benchmarks.special.options import create_figure
from benchmarks.stack import SAMOVAR
from benchmarks.suite import SPECIAL_ROWS, FailureLog, SuiteOptions, select_rivals, select_steps
from benchmarks.targets import Target
from deploy.errors import UsageError

ROW_OF_FIGURE = {"first event": "token stream"}
"""Measurements that another row gives, too."""


def step_names(options: SuiteOptions) -> list[str]:
    return [step.name for step in select_steps(options, print)]


def test_every_aim_is_measured_by_a_row() -> None:
    ours = {ROW_OF_FIGURE.get(bound.measurement, bound.measurement) for aim in AIMS for bound in aim.bounds}
    assert ours <= {row.name for row in PLAIN_ROWS} | set(SPECIAL_ROWS)


def test_the_main_rows_come_first() -> None:
    assert step_names(SuiteOptions())[:3] == ["noop", "minilm", "tokens"]
    assert len(step_names(SuiteOptions())) == len({row.predictor for row in PLAIN_ROWS}) + len(SPECIAL_ROWS) + 1


def test_rows_can_be_selected_by_a_part_of_their_names() -> None:
    assert step_names(SuiteOptions(only=("MINILM, 64", "idle"))) == ["minilm", "gateway idle"]


def test_an_unknown_row_is_refused_with_the_list_of_rows() -> None:
    with pytest.raises(UsageError, match=r"no-up: unknown row; the rows are no-op, 1 client; .*second start"):
        step_names(SuiteOptions(only=("no-up",)))


def test_the_suite_takes_about_twenty_minutes() -> None:
    expected = sum(step.expected_seconds for step in select_steps(SuiteOptions(), print))
    assert expected < 25 * 60
    quick = SuiteOptions(repeats=1, seconds=0.5, quick=True, rivals=())
    assert sum(step.expected_seconds for step in select_steps(quick, print)) < 5 * 60


def test_rivals_are_all_none_named_or_the_installed_ones(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert select_rivals(("all",), quick=True) == ("litserve", "mosec", "bentoml", "ray", "coglet")
    assert select_rivals(("none",), quick=False) == ()
    assert select_rivals((), quick=True) == ()
    assert select_rivals(("ray", "mosec"), quick=False) == ("mosec", "ray")
    monkeypatch.setenv("SAMOVAR_CACHE_DIR", str(tmp_path))
    assert select_rivals((), quick=False) == ()  # none is installed there
    with pytest.raises(UsageError, match="triton"):
        select_rivals(("triton",), quick=False)


def test_a_failed_row_is_reported_and_keeps_its_results() -> None:
    def broken() -> Iterator[Figure]:
        yield create_figure("second start", "s", [1.3])
        raise OSError("no room")

    failures = FailureLog(lambda _: None)
    assert [one.name for one in failures.run_guarded("second start", broken) if isinstance(one, Figure)] == [
        "second start"
    ]
    assert failures.messages == ["second start: no room"]


def test_rivals_rows_have_the_names_of_ours() -> None:
    ours = {(row.predictor, row.clients): row.name for row in PLAIN_ROWS if row.has_rivals}
    assert {key: row_title(*key) for key in ours} == ours


@pytest.mark.parametrize("row", PLAIN_ROWS, ids=lambda row: row.name)
def test_a_plan_requests_existing_models(row) -> None:
    plan = create_plan(row, Target("samovar", "http://127.0.0.1:1"), seconds=1, repeats=1, rate=10)
    for request in plan.requests:
        assert request.path == f"/v1/models/samovar/{request.model}/predictions"
        assert request.model == "minilm" or (MODELS / request.model / "predict.py").exists()
        assert json.decode(request.body)["input"]
    assert len({request.model for request in plan.requests}) == (
        len(MIXED_PREDICTORS) if row.predictor == "mixed" else 1
    )


def test_events_are_counted_however_the_network_splits_them() -> None:
    pieces = StreamPieces()
    stream = (
        b": welcome\n\nevent: output\nid: 1:1-a\ndata: 0 1000000000\n\nevent: output\nid: 1:2-b\ndata: 1 2000000000\n\n"
    )
    for number in range(len(stream)):
        pieces(3.0 - CLOCK_OFFSET, stream[number : number + 1])
    pieces(4.0 - CLOCK_OFFSET, b"event: done\nid: 1:2-b:d\ndata: {}\n\n")
    outputs = pieces.outputs()
    assert [data for _, data in outputs] == ["0 1000000000", "1 2000000000"]
    assert event_ages(outputs) == pytest.approx([2000, 1000])
    assert are_in_order(data for _, data in outputs)
    assert not are_in_order(["1 5", "0 6"])


@pytest.mark.slow
def test_a_quick_suite_writes_its_measurements(tmp_path: Path) -> None:
    out = tmp_path / "suite.jsonl.gz"
    command = [
        str(SAMOVAR),
        "bench",
        "suite",
        "--quick",
        "--out",
        str(out),
        "--only",
        "no-op, 1 client",
        "token stream",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    results = list(read_measurements(out))
    (repeat,) = [one for one in results if isinstance(one, Repeat)]
    assert all(sample.error is None for sample in repeat.samples)
    figures = {(one.name, one.figure): one.values for one in results if isinstance(one, Figure)}
    assert {("token stream", "events/s"), ("first event", "ms, p50")} <= figures.keys()
    assert all(value > 0 for values in figures.values() for value in values)
    assert "no-op, 1 client" in done.stdout
