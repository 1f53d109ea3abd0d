"""Ratios with intervals: what differs is seen, and what does not is not."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from benchmarks.report.compare import Comparison, compare, comparisons, interval, remarks
from benchmarks.samples import Figure, Repeat, write
from tests.bench.made import figure, repeats

Measured = Sequence[Repeat | Figure]


def one(found: list[Comparison], figure: str) -> Comparison:
    return next(each for each in found if each.figure == figure)


def said(tmp_path: Path, a: Measured, b: Measured, fail_if_slower: float | None = None) -> tuple[int, str]:
    write(tmp_path / "a.jsonl", a)
    write(tmp_path / "b.jsonl", b)
    console = Console(file=io.StringIO(), width=140)
    code = compare(tmp_path / "a.jsonl", tmp_path / "b.jsonl", fail_if_slower, console)
    assert isinstance(console.file, io.StringIO)
    return code, console.file.getvalue()


def test_an_interval_covers_a_known_ratio() -> None:
    draws = np.random.default_rng(3)
    held = 0
    for _ in range(200):
        a, b = draws.lognormal(0, 0.05, 5), 1.2 * draws.lognormal(0, 0.05, 5)
        low, high = interval(a.tolist(), b.tolist())
        held += low <= 1.2 <= high
    assert held >= 180


def test_the_same_values_give_the_same_interval() -> None:
    assert interval([1.0, 1.1, 1.3], [2.0, 2.2, 2.1]) == interval([1.0, 1.1, 1.3], [2.0, 2.2, 2.1])


def test_two_draws_of_the_same_show_no_difference_but_for_one_in_twenty() -> None:
    pairs = [comparisons(repeats(seed=seed, rate=100), repeats(seed=seed + 1, rate=100)) for seed in range(0, 60, 2)]
    for name in ("p50 ms", "p90 ms", "p99 ms", "requests/s"):
        assert sum(one(found, name).verdict != "no difference seen" for found in pairs) <= 4


def test_what_is_slower_is_slower_by_time_and_by_rate() -> None:
    found = comparisons(repeats(ms=2.0, rate=400), repeats(ms=2.6, rate=300, seed=2))
    time, rate = one(found, "p50 ms"), one(found, "requests/s")
    assert (time.verdict, rate.verdict) == ("slower", "slower")
    assert time.low is not None
    assert time.high is not None
    assert time.low <= 1.3 <= time.high
    assert rate.ratio is not None
    assert rate.ratio < 1


def test_what_is_faster_is_faster_the_other_way_round() -> None:
    found = comparisons(repeats(ms=2.6, rate=300, seed=2), repeats(ms=2.0, rate=400))
    assert (one(found, "p50 ms").verdict, one(found, "requests/s").verdict) == ("faster", "faster")


def test_bytes_are_more_or_less_and_never_slower() -> None:
    a, b = figure("gateway idle", "MB", [90, 91, 92]), figure("gateway idle", "MB", [120, 121, 122])
    (found,) = comparisons([a], [b])
    assert (found.verdict, found.slowdown) == ("more", None)


def test_two_repeats_are_too_few_and_that_is_said(tmp_path: Path) -> None:
    assert {each.verdict for each in comparisons(repeats(count=2), repeats(count=5, ms=9.0))} == {"too few repeats"}
    code, text = said(tmp_path, [*repeats(count=2)], [*repeats(ms=9.0)], 1.1)
    assert code == 0
    assert "too few repeats: no-op, 32 clients, samovar has 2, and an interval needs 3" in text


def test_nothing_is_compared_with_zero() -> None:
    (found,) = comparisons([figure("idle", "% of a core", [0, 0, 0])], [figure("idle", "% of a core", [1, 1, 1])])
    assert (found.verdict, found.ratio) == ("no ratio", None)


@pytest.mark.parametrize(
    ("limit", "code"),
    [pytest.param(None, 0, id="no limit"), pytest.param(1.1, 1, id="beyond"), pytest.param(1.5, 0, id="within")],
)
def test_a_slowdown_beyond_the_limit_fails(tmp_path: Path, limit: float | None, code: int) -> None:
    found, text = said(tmp_path, [*repeats(ms=2.0)], [*repeats(ms=2.6, seed=2)], limit)
    assert found == code
    assert ("SLOWER by more than" in text) == bool(code)


def test_what_is_faster_never_fails(tmp_path: Path) -> None:
    code, _ = said(tmp_path, [*repeats(ms=2.6, rate=300)], [*repeats(ms=2.0)], 1.01)
    assert code == 0


def test_what_is_in_one_file_only_is_listed(tmp_path: Path) -> None:
    _, text = said(tmp_path, [*repeats("old"), *repeats("both")], [*repeats("new"), *repeats("both")])
    assert "only in A: old, samovar" in text
    assert "only in B: new, samovar" in text


def test_what_makes_a_comparison_doubtful_is_said() -> None:
    a = [*repeats(clients=1, busy=2.5), *repeats("other", wrong=1, count=3)]
    b = [*repeats(clients=2), *repeats("other", count=3)]
    assert list(remarks(a, b)) == [
        "WRONG ANSWERS in A: 3 of other, samovar",
        "asked in different ways: no-op, 32 clients, samovar",
        "A's machine was not quiet: a load average of 2.50 before the first repeat",
    ]


def test_names_are_printed_as_they_are(tmp_path: Path) -> None:
    name = "[red]a\x1b[31m"
    _, text = said(tmp_path, [*repeats(name, rate=9)], [*repeats(name, rate=9), *repeats("[b]")])
    assert "[red]a\\x1b[31m" in text
    assert "only in B: [b], samovar" in text
    assert "\x1b[31m" not in text
