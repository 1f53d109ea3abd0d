"""Who hears what is printed: the set-up's log at first, then whatever runs."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, Protocol

from ..frames import FromWorker, Said
from .outputs import clean

Ids = tuple[str, ...]

_LONGEST: Final = 100_000  # characters of the set-up's log
_printer: Final[ContextVar[Ids | None]] = ContextVar("printer", default=None)


class Sink(Protocol):
    def send(self, *frames: FromWorker) -> None: ...


class Audience:
    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._setting_up = True
        self._seats: dict[object, Ids] = {}
        self._all: list[str] = []
        self._kept: list[str] = []
        self._size = 0

    def hear(self, text: str, ids: Sequence[str] | None = None) -> None:
        """Without `ids` nobody knows whose it is, and all that run hear it. In set-up the agent alone."""
        text = clean(text)
        if self._setting_up:
            self._keep(text)
        self._sink.send(Said(self._all if ids is None else list(ids), text))

    def begin(self) -> None:
        """Set-up is over."""
        self._setting_up = False

    def seat(self, turn: object, ids: Ids) -> None:
        """From here on these hear it, too."""
        self._seats[turn] = ids
        self._count()

    def leave(self, turn: object) -> None:
        del self._seats[turn]
        self._count()

    def claim(self, ids: Ids) -> None:
        """What Python prints in this context, and in those that are made in it, is for these alone."""
        _printer.set(ids)

    @contextmanager
    def alone(self, ids: Ids) -> Generator[None]:
        """The same, for a while."""
        before = _printer.get()
        _printer.set(ids)
        try:
            yield
        finally:
            _printer.set(before)

    def kept(self) -> str:
        """What was printed in set-up, the end of it."""
        return "".join(self._kept)[-_LONGEST:]

    def _keep(self, text: str) -> None:
        self._kept.append(text)
        self._size += len(text)
        if self._size > 2 * _LONGEST:
            self._kept = [self.kept()]
            self._size = _LONGEST

    def _count(self) -> None:
        self._all = [id for ids in self._seats.values() for id in ids]


def printer() -> Ids | None:
    """Who prints in this context; None: nobody knows."""
    return _printer.get()
