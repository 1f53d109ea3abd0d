"""The suite: which rows it has, in which order, and that one that fails keeps no other from being measured."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import json

from benchmarks.aims import AIMS
from benchmarks.plans import MIXED, MODELS, PLAIN, plan
from benchmarks.rivals.serving import title_of
from benchmarks.samples import Figure, Repeat, read
from benchmarks.special.client import SKEW, Heard, ages, in_order
from benchmarks.special.terms import figure
from benchmarks.stack import SAMOVAR
from benchmarks.suite import SPECIAL, Failures, Wish, chosen, rivals_of
from benchmarks.targets import Target
from deploy.errors import Unusable

MADE_BY = {"first event": "token stream"}
"""Measurements that another row gives, too."""


def names(wish: Wish) -> list[str]:
    return [step.name for step in chosen(wish, print)]


def test_every_aim_is_measured_by_a_row() -> None:
    ours = {MADE_BY.get(bound.measurement, bound.measurement) for aim in AIMS for bound in aim.bounds}
    assert ours <= {row.name for row in PLAIN} | set(SPECIAL)


def test_what_is_asked_for_most_comes_first() -> None:
    assert names(Wish())[:3] == ["noop", "minilm", "tokens"]
    assert len(names(Wish())) == len({row.predictor for row in PLAIN}) + len(SPECIAL) + 1


def test_some_rows_can_be_named_by_a_part() -> None:
    assert names(Wish(only=("MINILM, 64", "idle"))) == ["minilm", "gateway idle"]


def test_a_row_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(Unusable, match=r"no-up: no such row; there are no-op, 1 client; .*second start"):
        names(Wish(only=("no-up",)))


def test_nobody_waits_much_longer_than_twenty_minutes() -> None:
    expected = sum(step.expected for step in chosen(Wish(), print))
    assert expected < 25 * 60
    quick = Wish(repeats=1, seconds=0.5, quick=True, rivals=())
    assert sum(step.expected for step in chosen(quick, print)) < 5 * 60


def test_rivals_are_all_none_or_named_and_else_those_that_are_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert rivals_of(("all",), quick=True) == ("litserve", "mosec", "bentoml", "ray", "coglet")
    assert rivals_of(("none",), quick=False) == ()
    assert rivals_of((), quick=True) == ()
    assert rivals_of(("ray", "mosec"), quick=False) == ("mosec", "ray")
    monkeypatch.setenv("SAMOVAR_CACHE_DIR", str(tmp_path))
    assert rivals_of((), quick=False) == ()  # none is installed there
    with pytest.raises(Unusable, match="triton"):
        rivals_of(("triton",), quick=False)


def test_a_row_that_fails_is_told_and_keeps_what_it_gave() -> None:
    def broken() -> Iterator[Figure]:
        yield figure("second start", "s", [1.3])
        raise OSError("no room")

    failures = Failures(lambda _: None)
    assert [one.name for one in failures.guarded("second start", broken) if isinstance(one, Figure)] == ["second start"]
    assert failures.said == ["second start: no room"]


def test_rivals_rows_are_called_as_ours() -> None:
    ours = {(row.predictor, row.clients): row.name for row in PLAIN if row.rivals}
    assert {key: title_of(*key) for key in ours} == ours


@pytest.mark.parametrize("row", PLAIN, ids=lambda row: row.name)
def test_a_plan_asks_models_that_are_there(row) -> None:
    made = plan(row, Target("samovar", "http://127.0.0.1:1"), seconds=1, repeats=1, rate=10)
    for request in made.requests:
        assert request.path == f"/v1/models/samovar/{request.model}/predictions"
        assert request.model == "minilm" or (MODELS / request.model / "predict.py").exists()
        assert json.decode(request.body)["input"]
    assert len({request.model for request in made.requests}) == (len(MIXED) if row.predictor == "mixed" else 1)


def test_events_are_counted_wherever_the_network_cut_them() -> None:
    heard = Heard()
    stream = (
        b": welcome\n\nevent: output\nid: 1:1-a\ndata: 0 1000000000\n\nevent: output\nid: 1:2-b\ndata: 1 2000000000\n\n"
    )
    for number in range(len(stream)):
        heard(3.0 - SKEW, stream[number : number + 1])
    heard(4.0 - SKEW, b"event: done\nid: 1:2-b:d\ndata: {}\n\n")
    outputs = heard.outputs()
    assert [data for _, data in outputs] == ["0 1000000000", "1 2000000000"]
    assert ages(outputs) == pytest.approx([2000, 1000])
    assert in_order(data for _, data in outputs)
    assert not in_order(["1 5", "0 6"])


@pytest.mark.slow
def test_a_quick_suite_measures_and_keeps_what_it_measured(tmp_path: Path) -> None:
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
    found = list(read(out))
    (repeat,) = [one for one in found if isinstance(one, Repeat)]
    assert all(sample.error is None for sample in repeat.samples)
    figures = {(one.name, one.figure): one.values for one in found if isinstance(one, Figure)}
    assert {("token stream", "events/s"), ("first event", "ms, p50")} <= figures.keys()
    assert all(value > 0 for values in figures.values() for value in values)
    assert "no-op, 1 client" in done.stdout
