"""Who hears what is printed: the set-up's log at first, then whatever runs."""

from typing import Protocol

from .frames import FromWorker, Said
from .outputs import clean


class Sink(Protocol):
    def send(self, *frames: FromWorker) -> None: ...


class Audience:
    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._listening: list[str] | None = None
        self._kept: list[str] = []

    def hear(self, text: str) -> None:
        if self._listening is None:
            self._kept.append(clean(text))
        else:
            self._sink.send(Said(self._listening, clean(text)))

    def now(self, ids: tuple[str, ...]) -> None:
        """From here on these hear it. None of them: the agent alone."""
        self._listening = list(ids)

    def kept(self) -> str:
        """What was printed before anything ran."""
        return "".join(self._kept)
