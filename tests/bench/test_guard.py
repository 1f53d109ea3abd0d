"""What a prediction costs in instructions, which nobody may raise without saying so; and that the guard sees it."""

from collections.abc import Callable

import pytest

from benchmarks.guard import (
    MAX_GROWTH,
    PYTHON,
    Count,
    compare_with_budget,
    count,
    count_operations,
    measure_growth,
    read_budget,
)
from benchmarks.guarded_operations import GROWING


def test_no_operation_exceeds_its_budget() -> None:
    budget = read_budget()
    if budget is None:
        pytest.skip(f"nothing is kept for Python {PYTHON}")
    assert list(compare_with_budget(count_operations(), budget)) == []


@pytest.mark.parametrize("name", GROWING)
def test_ten_times_the_outputs_take_ten_times_as_long(name: str) -> None:
    assert measure_growth(GROWING[name]) <= MAX_GROWTH


def test_counts_are_the_same_every_time() -> None:
    def once() -> None:
        for number in range(10):
            len(str(number))

    first = count(once)
    assert count(once) == first
    assert first.instructions > 50
    assert first.calls == 10  # `str` is a class


def test_a_copy_for_each_output_grows_too_fast() -> None:
    def copying(size: int) -> Callable[[], None]:
        def once() -> None:
            outputs: list[int] = []
            for number in range(size):
                outputs = [*outputs, number]

        return once

    assert measure_growth(copying, attempts=1) > MAX_GROWTH


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        pytest.param(Count(120, 10), "instructions went up from 100 to 120", id="more"),
        pytest.param(Count(80, 10), "instructions went down from 100 to 80", id="less"),
        pytest.param(Count(100, 13), "calls went up from 10 to 13", id="calls"),
    ],
)
def test_a_difference_from_the_budget_is_described(now: Count, expected: str) -> None:
    (messages,) = compare_with_budget({"answer": now}, {"answer": Count(100, 10)})
    assert expected in messages
    assert "guard --update" in messages


def test_a_difference_within_the_slack_is_accepted() -> None:
    assert list(compare_with_budget({"answer": Count(109, 11)}, {"answer": Count(100, 10)})) == []


def test_an_operation_that_is_not_counted_any_more_is_reported() -> None:
    assert list(compare_with_budget({}, {"answer": Count(1, 1)})) == ["answer: is not counted any more."]
    assert list(compare_with_budget({"answer": Count(1, 1)}, {})) == ["answer: nothing is kept of it."]
