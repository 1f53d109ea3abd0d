"""A prediction as server-sent events.

What a client lacks is a pure function of what it has and of the state of the prediction.
"""

import re
import zlib
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from msgspec import Raw, Struct, json, structs

from schemas.prediction import FINAL, Prediction, Status

KEEP_ALIVE: Final = b": still here\n\n"
WELCOME: Final = b": welcome\n\n"
DIVERGED: Final = "The model was started over and its output came out differently. Read it anew."

EVENT_ID: Final = re.compile(r"(\d{1,15}):(\d{1,9})-([0-9a-f]{1,8})(?:-(\d{1,12}))?(?::([ed]))?")
LINE_BREAKS: Final = re.compile(rb"\r\n|\r|\n")


class Frame(NamedTuple):
    """A server-sent event."""

    event: str
    id: str
    data: bytes

    def encode(self) -> bytes:
        """Write the event as it is sent.

        Every line of the data gets its own `data:`, whatever ends it: a stray carriage return would cut it short.
        """
        data = self.data
        if b"\n" in data or b"\r" in data:
            data = b"\ndata: ".join(LINE_BREAKS.split(data))
        return b"event: %b\nid: %b\ndata: %b\n\n" % (self.event.encode(), self.id.encode(), data)


class StreamPosition(Struct, frozen=True, kw_only=True):
    """The part of a prediction that a client has.

    In the id of an event it means the same to every gateway, whether the prediction runs or is in the record.
    """

    run: int = 0
    """When the run began: `Run.at`."""
    outputs: int = 0
    digest: int = 0
    """A checksum of all chunks up to here, to decide whether another run put out the same without having its output."""
    logs: int = 0
    """Characters."""
    status: Status | None = None
    reason: str | None = None
    has_failed: bool = False
    """Whether the `error` event was sent, so that only `done` is missing."""
    is_over: bool = False


def parse_event_id(last_event_id: str | None) -> StreamPosition:
    """Parse the id of the last event that a client has. An id that is not ours starts from the beginning."""
    match = EVENT_ID.fullmatch(last_event_id or "")
    if not match:
        return StreamPosition()
    run, outputs, digest, logs, failed = match.groups()
    return StreamPosition(
        run=int(run), outputs=int(outputs), digest=int(digest, 16), logs=int(logs or 0), has_failed=bool(failed)
    )


class StreamEncoder:
    """The stream of a prediction for one client: it turns each state into the bytes that the client lacks.

    `encode_chunk` turns an output chunk into what clients see. `all_events` adds status, logs and metrics;
    `starting_reason` says what a prediction waits for while it is starting. The streaming route makes one.
    """

    def __init__(
        self,
        position: StreamPosition,
        encode_chunk: Callable[[Prediction, Raw], bytes],
        *,
        all_events: bool = False,
        starting_reason: Callable[[], str] | None = None,
    ) -> None:
        self.position = position
        self._encode_chunk = encode_chunk
        self._all_events = all_events
        self._starting_reason = starting_reason

    def encode(self, p: Prediction) -> bytes:
        """Return what the client lacks of this state; `position.is_over` is true once that included `done`."""
        return b"".join(frame.encode() for frame in self._frames(p))

    def _frames(self, p: Prediction) -> Iterator[Frame]:
        run = p.run.at if p.run else 0
        if self.position.outputs and self.position.run != run:
            if self._all_events:
                self.position = StreamPosition(run=run)
                yield self._frame("restarted", b"{}")
            elif len(p.chunks) < self.position.outputs and p.status not in FINAL:
                return
            elif output_digest(p, self.position.outputs) != self.position.digest:
                yield from self._error(DIVERGED)
                return
        if self.position.run != run:
            self.position = structs.replace(self.position, run=run, logs=0)
        if self._all_events:
            yield from self._progress(p)
        if p.kind == "predict" and (p.many or p.status in FINAL):
            yield from self._outputs(p)
        if p.status in FINAL:
            yield from self._end(p)

    def _progress(self, p: Prediction) -> Iterator[Frame]:
        reason = self._starting_reason() if self._starting_reason and p.status is Status.STARTING else None
        if (self.position.status, self.position.reason) != (p.status, reason):
            self.position = structs.replace(self.position, status=p.status, reason=reason)
            yield self._frame("status", json.encode({"status": p.status} | ({"reason": reason} if reason else {})))
        if self.position.logs < p.logged:
            new = p.logs[self.position.logs :]
            self.position = structs.replace(self.position, logs=p.logged)
            yield self._frame("logs", new.encode())

    def _outputs(self, p: Prediction) -> Iterator[Frame]:
        for chunk in p.chunks.since(self.position.outputs):
            self.position = structs.replace(
                self.position,
                outputs=self.position.outputs + 1,
                digest=zlib.crc32(bytes(chunk) + b"\n", self.position.digest),
            )
            yield self._frame("output", self._encode_chunk(p, chunk))

    def _end(self, p: Prediction) -> Iterator[Frame]:
        if self._all_events and p.metrics:
            yield self._frame("metrics", json.encode(p.metrics))
        match p.status:
            case Status.FAILED:
                yield from self._error(p.error or "")
            case Status.CANCELED:
                yield self._done(b'{"reason":"canceled"}')
            case _:
                yield self._done(b"{}")

    def _error(self, detail: str) -> Iterator[Frame]:
        if not self.position.has_failed:
            self.position = structs.replace(self.position, has_failed=True)
            yield self._frame("error", json.encode({"detail": detail}))
        yield self._done(b'{"reason":"error"}')

    def _done(self, data: bytes) -> Frame:
        self.position = structs.replace(self.position, is_over=True)
        return self._frame("done", data)

    def _frame(self, event: str, data: bytes) -> Frame:
        position = self.position
        id = f"{position.run}:{position.outputs}-{position.digest:x}"
        if self._all_events:
            id += f"-{position.logs}"
        if event == "done":
            id += ":d"
        elif position.has_failed:
            id += ":e"
        return Frame(event, id, data)


def output_digest(p: Prediction, count: int) -> int:
    """Compute the checksum of the first `count` chunks; -1 if there are fewer."""
    if len(p.chunks) < count:
        return -1
    value = 0
    for chunk in p.chunks.since(0)[:count]:
        value = zlib.crc32(bytes(chunk) + b"\n", value)
    return value
