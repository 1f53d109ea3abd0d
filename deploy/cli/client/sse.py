"""Server-sent events, read from the bytes as they come."""

import codecs
import re
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

# Only these end a line. `str.splitlines` knows more, and would cut a text with U+2028 in it.
BREAK: Final = re.compile(r"\r\n|\n|\r")


class Event(Struct, frozen=True):
    kind: str
    id: str
    data: str


class Parser:
    """Feed it what arrives, cut anywhere; whole events come out."""

    def __init__(self, last_id: str = "") -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._rest = ""
        self._kind = ""
        self._data: list[str] = []
        self.last_id = last_id

    def feed(self, arrived: bytes) -> Iterator[Event]:
        text = self._rest + self._decoder.decode(arrived)
        start = 0
        for found in BREAK.finditer(text):
            if found.end() == len(text) and found[0] == "\r":
                break  # a line feed may follow: then both are one end
            line, start = text[start : found.start()], found.end()
            if event := self._line(line):
                yield event
        self._rest = text[start:]

    def _line(self, line: str) -> Event | None:
        if not line:
            return self._whole()
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

    def _whole(self) -> Event | None:
        kind, data = self._kind or "message", self._data
        self._kind, self._data = "", []
        return Event(kind, self.last_id, "\n".join(data)) if data else None
