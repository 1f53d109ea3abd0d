"""What the clients of a campaign sent and were told, and what the record said at the end: JSON lines on disk."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct, json


class Entry(Struct, frozen=True, kw_only=True):
    """`at` is a monotonic time that all clients of one history share."""

    client: str
    at: float


class Asked(Entry, frozen=True, kw_only=True, tag="asked"):
    """A create was sent."""

    call: str
    model: str
    input: dict[str, Any]
    how: str
    """sync | async | stream"""


class Accepted(Entry, frozen=True, kw_only=True, tag="accepted"):
    """The create got its 2xx: from here on the prediction must reach its end."""

    call: str
    id: str


class Refused(Entry, frozen=True, kw_only=True, tag="refused"):
    call: str
    status: int
    detail: str


class Lost(Entry, frozen=True, kw_only=True, tag="lost"):
    """The create's answer never came: if it was sent at all, it may have been accepted or not."""

    call: str
    reason: str
    sent: bool = True


class Read(Entry, frozen=True, kw_only=True, tag="read"):
    """The prediction, as a GET, a sync create or a list told it; `at` is when the answer was there."""

    id: str
    begun: float
    """When the request was sent."""
    status: str
    """`missing` for a 404."""
    output: Any = None
    error: str | None = None
    completed_at: str | None = None


class Opened(Entry, frozen=True, kw_only=True, tag="opened"):
    """A stream was connected, resuming after an event or from the start."""

    id: str
    after: str | None = None


class Streamed(Entry, frozen=True, kw_only=True, tag="streamed"):
    id: str
    event: str
    event_id: str | None
    data: str


class Killed(Entry, frozen=True, kw_only=True, tag="killed"):
    """A fault, for whoever reads the history; the checker needs none of it."""

    what: str
    recovered_at: float | None = None


class Recorded(Entry, frozen=True, kw_only=True, tag="recorded"):
    """One row of the record, as read at the end."""

    id: str
    by: str
    """api | row"""
    model: str
    input: dict[str, Any]
    status: str
    output: Any = None
    error: str | None = None
    completed_at: str | None = None


Line = Asked | Accepted | Refused | Lost | Read | Opened | Streamed | Killed | Recorded

_decode = json.Decoder(Line).decode


class Log:
    """A growing history, kept in memory and on disk at once, so that a campaign that dies can be looked at."""

    def __init__(self, path: Path) -> None:
        self.lines: list[Line] = []
        self._file = path.open("ab", buffering=0)

    def say(self, line: Line) -> None:
        self.lines.append(line)
        self._file.write(json.encode(line) + b"\n")

    def close(self) -> None:
        self._file.close()


def read(path: Path) -> Iterator[Line]:
    for line in path.read_bytes().splitlines():
        yield _decode(line)
