"""Tiles cover a picture once, and see what is around them."""

from hypothesis import given
from hypothesis import strategies as st

from tests.runners.models.loading import module

tiles = module("upscale", "tiles")
sizes = st.integers(1, 70)


@given(sizes, sizes, st.integers(1, 40), st.integers(0, 9))
def test_every_pixel_belongs_to_one_tile_with_its_margin(width: int, height: int, side: int, around: int):
    counts: dict[tuple[int, int], int] = {}
    for tile in tiles.cut_tiles(width, height, side, around):
        x, y, right, bottom = tile.source
        assert 0 <= x < right <= width
        assert 0 <= y < bottom <= height
        assert max(right - x, bottom - y) <= side + 2 * around
        left, top, end, low = tile.crop
        assert (x + left, y + top) == tile.position
        assert left == min(around, tile.position[0])
        assert right - x - end == min(around, width - (x + end))
        for row in range(y + top, y + low):
            for column in range(x + left, x + end):
                counts[row, column] = counts.get((row, column), 0) + 1
    assert len(counts) == width * height
    assert set(counts.values()) == {1}


def test_a_box_grows_with_the_picture():
    assert tiles.scale_box((1, 2, 3, 4), 3) == (3, 6, 9, 12)
