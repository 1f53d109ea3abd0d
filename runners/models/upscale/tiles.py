"""Cutting a picture into tiles, each with a margin around it, so that no seam shows where they meet."""

from collections.abc import Iterator
from dataclasses import dataclass

Box = tuple[int, int, int, int]
"""A rectangle: left, top, right, bottom."""


@dataclass(frozen=True)
class Tile:
    """A part of a picture, and what is used of it once it is enlarged."""

    source: Box
    """The part of the picture, with its margin."""
    crop: Box
    """What is used of the part, counted from its own corner."""
    position: tuple[int, int]
    """Where that belongs in the picture."""


def cut_tiles(width: int, height: int, side: int, margin: int) -> Iterator[Tile]:
    """Yield the tiles of a picture, each up to `side` pixels wide and high."""
    for top in range(0, height, side):
        for left in range(0, width, side):
            right, bottom = min(left + side, width), min(top + side, height)
            x, y = max(left - margin, 0), max(top - margin, 0)
            source = (x, y, min(right + margin, width), min(bottom + margin, height))
            yield Tile(source, (left - x, top - y, right - x, bottom - y), (left, top))


def scale_box(box: Box, by: int) -> Box:
    """Multiply all coordinates of a box."""
    left, top, right, bottom = box
    return left * by, top * by, right * by, bottom * by
