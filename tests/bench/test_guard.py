"""What a prediction costs in instructions, which nobody may raise without saying so; and that the guard sees it."""

from collections.abc import Callable

import pytest

from benchmarks.guard import PYTHON, STEEP, Count, count, counts, growth, judge, kept
from benchmarks.guarded import GROWING


def test_no_operation_takes_more_instructions_than_were_kept() -> None:
    budget = kept()
    if budget is None:
        pytest.skip(f"nothing is kept for Python {PYTHON}")
    assert list(judge(counts(), budget)) == []


@pytest.mark.parametrize("name", GROWING)
def test_ten_times_the_outputs_take_ten_times_as_long(name: str) -> None:
    assert growth(GROWING[name]) <= STEEP


def test_counts_are_the_same_every_time() -> None:
    def once() -> None:
        for number in range(10):
            len(str(number))

    first = count(once)
    assert count(once) == first
    assert first.instructions > 50
    assert first.calls == 10  # `str` is a class


def test_a_copy_for_each_output_is_steep() -> None:
    def copying(size: int) -> Callable[[], None]:
        def once() -> None:
            outputs: list[int] = []
            for number in range(size):
                outputs = [*outputs, number]

        return once

    assert growth(copying, attempts=1) > STEEP


@pytest.mark.parametrize(
    ("now", "words"),
    [
        pytest.param(Count(120, 10), "instructions went up from 100 to 120", id="more"),
        pytest.param(Count(80, 10), "instructions went down from 100 to 80", id="less"),
        pytest.param(Count(100, 13), "calls went up from 10 to 13", id="calls"),
    ],
)
def test_what_is_not_as_kept_is_said(now: Count, words: str) -> None:
    (said,) = judge({"answer": now}, {"answer": Count(100, 10)})
    assert words in said
    assert "guard --update" in said


def test_a_little_more_is_nothing_to_speak_of() -> None:
    assert list(judge({"answer": Count(109, 11)}, {"answer": Count(100, 10)})) == []


def test_an_operation_that_nobody_counts_is_said() -> None:
    assert list(judge({}, {"answer": Count(1, 1)})) == ["answer: is not counted any more."]
    assert list(judge({"answer": Count(1, 1)}, {})) == ["answer: nothing is kept of it."]
