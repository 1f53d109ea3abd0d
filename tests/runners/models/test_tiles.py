"""Tiles cover a picture once, and see what is around them."""

from hypothesis import given
from hypothesis import strategies as st

from tests.runners.models.loading import module

tiles = module("upscale", "tiles")
sizes = st.integers(1, 70)


@given(sizes, sizes, st.integers(1, 40), st.integers(0, 9))
def test_every_pixel_is_made_once_by_a_tile_that_sees_around_it(width: int, height: int, side: int, around: int):
    made: dict[tuple[int, int], int] = {}
    for tile in tiles.tiles(width, height, side, around):
        x, y, right, bottom = tile.seen
        assert 0 <= x < right <= width
        assert 0 <= y < bottom <= height
        assert max(right - x, bottom - y) <= side + 2 * around
        left, top, end, low = tile.kept
        assert (x + left, y + top) == tile.place
        assert left == min(around, tile.place[0])
        assert right - x - end == min(around, width - (x + end))
        for row in range(y + top, y + low):
            for column in range(x + left, x + end):
                made[row, column] = made.get((row, column), 0) + 1
    assert len(made) == width * height
    assert set(made.values()) == {1}


def test_a_box_grows_with_the_picture():
    assert tiles.scaled((1, 2, 3, 4), 3) == (3, 6, 9, 12)
