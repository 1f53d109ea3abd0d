"""What the rows have in common that are not a plain load: how long they may take, and what they give."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from msgspec import Struct

from benchmarks import machine
from benchmarks.samples import Figure


class Terms(Struct, frozen=True):
    repeats: int = 5
    seconds: float = 2.0
    """Of a repeat, where it is for the row to choose."""
    quick: bool = False
    """Whether it is enough to see that the row works: less of everything that takes long."""


Special = Callable[[Terms], Iterable[Figure]]


def figure(name: str, figure: str, values: list[float], target: str = "samovar", /, **details: float) -> Figure:
    return Figure(
        name=name,
        target=target,
        figure=figure,
        values=values,
        at=datetime.now(UTC).isoformat(),
        machine=machine.describe(),
        details=details,
    )
