"""A picture cut into tiles, each seen with what is around it, so that no seam shows where they meet."""

from collections.abc import Iterator
from dataclasses import dataclass

Box = tuple[int, int, int, int]
"""Left, top, right, bottom."""


@dataclass(frozen=True)
class Tile:
    seen: Box
    """What is looked at, of the picture."""
    kept: Box
    """What is kept of it, from its own corner."""
    place: tuple[int, int]
    """Where that belongs in the picture."""


def tiles(width: int, height: int, side: int, around: int) -> Iterator[Tile]:
    for top in range(0, height, side):
        for left in range(0, width, side):
            right, bottom = min(left + side, width), min(top + side, height)
            x, y = max(left - around, 0), max(top - around, 0)
            seen = (x, y, min(right + around, width), min(bottom + around, height))
            yield Tile(seen, (left - x, top - y, right - x, bottom - y), (left, top))


def scaled(box: Box, by: int) -> Box:
    left, top, right, bottom = box
    return left * by, top * by, right * by, bottom * by
