"""Ratios with intervals: what differs is seen, and what does not is not."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from benchmarks.report.compare import Comparison, bootstrap_interval, compare, compare_results, list_remarks
from benchmarks.samples import Figure, Repeat, write_measurements
from tests.bench.synthetic import create_figure, create_repeats

Measured = Sequence[Repeat | Figure]


def find_comparison(comparisons: list[Comparison], figure: str) -> Comparison:
    return next(each for each in comparisons if each.figure == figure)


def print_comparison(tmp_path: Path, a: Measured, b: Measured, fail_if_slower: float | None = None) -> tuple[int, str]:
    write_measurements(tmp_path / "a.jsonl", a)
    write_measurements(tmp_path / "b.jsonl", b)
    console = Console(file=io.StringIO(), width=140)
    code = compare(tmp_path / "a.jsonl", tmp_path / "b.jsonl", fail_if_slower, console)
    assert isinstance(console.file, io.StringIO)
    return code, console.file.getvalue()


def test_an_interval_covers_a_known_ratio() -> None:
    draws = np.random.default_rng(3)
    covered = 0
    for _ in range(200):
        a, b = draws.lognormal(0, 0.05, 5), 1.2 * draws.lognormal(0, 0.05, 5)
        low, high = bootstrap_interval(a.tolist(), b.tolist())
        covered += low <= 1.2 <= high
    assert covered >= 180


def test_the_same_values_give_the_same_interval() -> None:
    assert bootstrap_interval([1.0, 1.1, 1.3], [2.0, 2.2, 2.1]) == bootstrap_interval([1.0, 1.1, 1.3], [2.0, 2.2, 2.1])


def test_equal_distributions_differ_in_one_case_of_twenty_at_most() -> None:
    pairs = [
        compare_results(create_repeats(seed=seed, rate=100), create_repeats(seed=seed + 1, rate=100))
        for seed in range(0, 60, 2)
    ]
    for name in ("p50 ms", "p90 ms", "p99 ms", "requests/s"):
        assert sum(find_comparison(comparisons, name).verdict != "no difference seen" for comparisons in pairs) <= 4


def test_a_slowdown_shows_in_times_and_in_rates() -> None:
    comparisons = compare_results(create_repeats(ms=2.0, rate=400), create_repeats(ms=2.6, rate=300, seed=2))
    time, rate = find_comparison(comparisons, "p50 ms"), find_comparison(comparisons, "requests/s")
    assert (time.verdict, rate.verdict) == ("slower", "slower")
    assert time.low is not None
    assert time.high is not None
    assert time.low <= 1.3 <= time.high
    assert rate.ratio is not None
    assert rate.ratio < 1


def test_a_speedup_shows_in_times_and_in_rates() -> None:
    comparisons = compare_results(create_repeats(ms=2.6, rate=300, seed=2), create_repeats(ms=2.0, rate=400))
    assert (find_comparison(comparisons, "p50 ms").verdict, find_comparison(comparisons, "requests/s").verdict) == (
        "faster",
        "faster",
    )


def test_bytes_are_more_or_less_and_never_slower() -> None:
    a, b = create_figure("gateway idle", "MB", [90, 91, 92]), create_figure("gateway idle", "MB", [120, 121, 122])
    (comparisons,) = compare_results([a], [b])
    assert (comparisons.verdict, comparisons.slowdown) == ("more", None)


def test_two_repeats_are_too_few_for_an_interval(tmp_path: Path) -> None:
    assert {each.verdict for each in compare_results(create_repeats(count=2), create_repeats(count=5, ms=9.0))} == {
        "too few repeats"
    }
    code, text = print_comparison(tmp_path, [*create_repeats(count=2)], [*create_repeats(ms=9.0)], 1.1)
    assert code == 0
    assert "too few repeats: no-op, 32 clients, samovar has 2, and an interval needs 3" in text


def test_a_value_of_zero_has_no_ratio() -> None:
    (comparisons,) = compare_results(
        [create_figure("idle", "% of a core", [0, 0, 0])], [create_figure("idle", "% of a core", [1, 1, 1])]
    )
    assert (comparisons.verdict, comparisons.ratio) == ("no ratio", None)


@pytest.mark.parametrize(
    ("limit", "code"),
    [pytest.param(None, 0, id="no limit"), pytest.param(1.1, 1, id="beyond"), pytest.param(1.5, 0, id="within")],
)
def test_a_slowdown_beyond_the_limit_fails(tmp_path: Path, limit: float | None, code: int) -> None:
    comparisons, text = print_comparison(tmp_path, [*create_repeats(ms=2.0)], [*create_repeats(ms=2.6, seed=2)], limit)
    assert comparisons == code
    assert ("SLOWER by more than" in text) == bool(code)


def test_a_speedup_never_fails(tmp_path: Path) -> None:
    code, _ = print_comparison(tmp_path, [*create_repeats(ms=2.6, rate=300)], [*create_repeats(ms=2.0)], 1.01)
    assert code == 0


def test_measurements_in_one_file_only_are_listed(tmp_path: Path) -> None:
    _, text = print_comparison(
        tmp_path, [*create_repeats("old"), *create_repeats("both")], [*create_repeats("new"), *create_repeats("both")]
    )
    assert "only in A: old, samovar" in text
    assert "only in B: new, samovar" in text


def test_a_doubtful_comparison_has_remarks() -> None:
    a = [*create_repeats(clients=1, busy=2.5), *create_repeats("other", wrong=1, count=3)]
    b = [*create_repeats(clients=2), *create_repeats("other", count=3)]
    assert list(list_remarks(a, b)) == [
        "WRONG ANSWERS in A: 3 of other, samovar",
        "measured with different loads: no-op, 32 clients, samovar",
        "A's machine was not quiet: a load average of 2.50 before the first repeat",
    ]


def test_names_are_printed_as_they_are(tmp_path: Path) -> None:
    name = "[red]a\x1b[31m"
    _, text = print_comparison(
        tmp_path, [*create_repeats(name, rate=9)], [*create_repeats(name, rate=9), *create_repeats("[b]")]
    )
    assert "[red]a\\x1b[31m" in text
    assert "only in B: [b], samovar" in text
    assert "\x1b[31m" not in text
