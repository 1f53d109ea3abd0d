"""A campaign's history, as JSON lines on disk: what clients sent and received, and the record at the end."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct, json


class Entry(Struct, frozen=True, kw_only=True):
    """A line of the history. `at` is a monotonic time that all clients share."""

    client: str
    at: float


class CreateSent(Entry, frozen=True, kw_only=True, tag="asked"):
    """A create was sent."""

    call: str
    model: str
    input: dict[str, Any]
    how: str
    """sync | async | stream"""


class CreateAccepted(Entry, frozen=True, kw_only=True, tag="accepted"):
    """A create got its 2xx: from here on, the prediction must reach a final state."""

    call: str
    id: str


class CreateRefused(Entry, frozen=True, kw_only=True, tag="refused"):
    """A create got an error status."""

    call: str
    status: int
    detail: str


class CreateUnanswered(Entry, frozen=True, kw_only=True, tag="lost"):
    """A create got no response: if it was sent at all, it may have been accepted."""

    call: str
    reason: str
    sent: bool = True


class PredictionRead(Entry, frozen=True, kw_only=True, tag="read"):
    """A prediction as a GET, a sync create or a list returned it; `at` is when the response was complete."""

    id: str
    sent_at: float
    """When the request was sent."""
    status: str
    """`missing` for a 404."""
    output: Any = None
    error: str | None = None
    completed_at: str | None = None


class StreamOpened(Entry, frozen=True, kw_only=True, tag="opened"):
    """A stream was opened, from the start or after an event."""

    id: str
    after: str | None = None


class EventReceived(Entry, frozen=True, kw_only=True, tag="streamed"):
    """A stream delivered an event."""

    id: str
    event: str
    event_id: str | None
    data: str


class FaultInjected(Entry, frozen=True, kw_only=True, tag="killed"):
    """A fault, for people who read the history; the checker does not need it."""

    what: str
    recovered_at: float | None = None


class RecordRow(Entry, frozen=True, kw_only=True, tag="recorded"):
    """A row of the record, as read at the end."""

    id: str
    by: str
    """api | row"""
    model: str
    input: dict[str, Any]
    status: str
    output: Any = None
    error: str | None = None
    completed_at: str | None = None


Line = (
    CreateSent
    | CreateAccepted
    | CreateRefused
    | CreateUnanswered
    | PredictionRead
    | StreamOpened
    | EventReceived
    | FaultInjected
    | RecordRow
)

_decode = json.Decoder(Line).decode


class HistoryLog:
    """A growing history, in memory and on disk at once, so that one can examine a campaign that died."""

    def __init__(self, path: Path) -> None:
        self.lines: list[Line] = []
        self._file = path.open("ab", buffering=0)

    def append(self, line: Line) -> None:
        self.lines.append(line)
        self._file.write(json.encode(line) + b"\n")

    def close(self) -> None:
        self._file.close()


def read_history(path: Path) -> Iterator[Line]:
    for line in path.read_bytes().splitlines():
        yield _decode(line)
