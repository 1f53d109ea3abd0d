"""A parser of server-sent events, fed with bytes as they arrive."""

import codecs
import re
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

# Only these end a line. `str.splitlines` knows more, and would cut a text with U+2028 in it.
LINE_BREAK: Final = re.compile(r"\r\n|\n|\r")


class Event(Struct, frozen=True):
    """A server-sent event."""

    kind: str
    id: str
    data: str


class Parser:
    """Turns chunks of bytes, cut anywhere, into whole events. One parser reads one connection."""

    def __init__(self, last_id: str = "") -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._partial_line = ""
        self._kind = ""
        self._data: list[str] = []
        self.last_id = last_id

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """Yield the events that `chunk` completes."""
        text = self._partial_line + self._decoder.decode(chunk)
        start = 0
        for line_break in LINE_BREAK.finditer(text):
            if line_break.end() == len(text) and line_break[0] == "\r":
                break  # a line feed may follow: then both are one end
            line, start = text[start : line_break.start()], line_break.end()
            if event := self._parse_line(line):
                yield event
        self._partial_line = text[start:]

    def _parse_line(self, line: str) -> Event | None:
        if not line:
            return self._complete_event()
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match field:
            case "event":
                self._kind = value
            case "data":
                self._data.append(value)
            case "id":
                self.last_id = value
            case _:
                pass
        return None

    def _complete_event(self) -> Event | None:
        kind, data = self._kind or "message", self._data
        self._kind, self._data = "", []
        return Event(kind, self.last_id, "\n".join(data)) if data else None
