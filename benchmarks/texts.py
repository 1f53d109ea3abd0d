"""Texts of about twenty words, like those that a search embeds; all of them differ."""

from typing import Final

_WHO: Final = ("A shepherd", "The night train", "An old printer", "My neighbour's cat", "The harbour crane")
_WHAT: Final = ("waits for the rain to stop", "carries letters to the coast", "has not been repaired since spring")
_WHERE: Final = ("behind the station", "under the long stone bridge", "on the road to the next town")
_WHY: Final = (
    "because nobody has asked otherwise.",
    "as it has every year.",
    "and hums a tune that is hard to forget.",
)

TEXTS: Final = tuple(
    f"{who} {what} {where}, {why}" for who in _WHO for what in _WHAT for where in _WHERE for why in _WHY
)
