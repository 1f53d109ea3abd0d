"""The order in which parts of a text are read."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.runners.models.loading import module

rows = module("ocr", "rows")


def box(left: float, top: float, width: float = 50, height: float = 20, down: float = 0) -> Any:
    """`down`: how far the right end lies below the left one."""
    right = left + width
    return [[left, top], [right, top + down], [right, top + down + height], [left, top + height]]


PAGES = [
    pytest.param([], [], id="nothing"),
    pytest.param([box(0, 0), box(0, 30), box(0, 60)], [[0], [1], [2]], id="one below the other"),
    pytest.param([box(60, 2), box(0, 0), box(120, -2)], [[1, 0, 2]], id="one beside the other"),
    pytest.param([box(0, 30), box(90, 31), box(90, 1), box(0, 0)], [[3, 2], [0, 1]], id="a table"),
    pytest.param([box(0, 0), box(25, 15), box(0, 30)], [[0], [1], [2]], id="close lines"),
    pytest.param(
        [box(0, 0, height=60), box(60, 5), box(60, 35)], [[0], [1], [2]], id="a large letter beside two lines"
    ),
    pytest.param([box(54 * n, 6 * n, down=6) for n in range(20)], [list(range(20))], id="a line that falls"),
]


@pytest.mark.parametrize(("boxes", "expected"), PAGES)
def test_lines_are_read_from_above_and_each_from_the_left(boxes: list[Any], expected: list[list[int]]):
    assert rows.rows(boxes) == expected


@given(st.lists(st.builds(box, *[st.integers(0, 99)] * 2, *[st.integers(1, 60)] * 2), max_size=20))
def test_nothing_is_lost_and_nothing_read_twice(boxes: list[Any]):
    assert sorted(number for row in rows.rows(boxes) for number in row) == list(range(len(boxes)))
