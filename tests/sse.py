"""Server-sent events as a browser would read them."""

import re
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from typing import Final, NamedTuple

LINE_BREAK: Final = re.compile(rb"\r\n|\n|\r(?!\Z)")  # a final \r may be half a \r\n


class Event(NamedTuple):
    event: str
    id: str | None
    data: str


class Parser:
    """Turns chunks of bytes, cut anywhere, into whole events."""

    def __init__(self) -> None:
        self._partial_line = b""
        self._event = ""
        self._id: str | None = None
        self._data: list[str] = []

    def feed(self, piece: bytes) -> Iterator[Event]:
        *lines, self._partial_line = LINE_BREAK.split(self._partial_line + piece)
        for line in lines:
            if line:
                self._field(line.decode())
            elif self._data:
                yield Event(self._event or "message", self._id, "\n".join(self._data))
                self._event, self._id, self._data = "", None, []

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "event":
                self._event = value
            case "id":
                self._id = value
            case "data":
                self._data.append(value)
            case _:
                pass


async def parse_events(pieces: AsyncIterable[bytes]) -> AsyncIterator[Event]:
    parser = Parser()
    async for piece in pieces:
        for event in parser.feed(piece):
            yield event
