"""The options and figures of the special rows."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from msgspec import Struct

from benchmarks import machine
from benchmarks.samples import Figure


class RowOptions(Struct, frozen=True):
    """The options of a special row."""

    repeats: int = 5
    seconds: float = 2.0
    """Seconds of a repeat, if the row does not fix them."""
    quick: bool = False
    """Whether it is enough to see that the row works."""


SpecialRow = Callable[[RowOptions], Iterable[Figure]]


def create_figure(name: str, figure: str, values: list[float], target: str = "samovar", /, **details: float) -> Figure:
    """Return a figure of this machine, measured now."""
    return Figure(
        name=name,
        target=target,
        figure=figure,
        values=values,
        at=datetime.now(UTC).isoformat(),
        machine=machine.describe_machine(),
        details=details,
    )
