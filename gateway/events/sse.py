"""A prediction as server-sent events: what a client lacks is a pure function of what it has and what there is."""

import re
import zlib
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from msgspec import Raw, Struct, json, structs

from schemas.prediction import FINAL, Prediction, Status

KEEP_ALIVE: Final = b": still here\n\n"
OPENING: Final = b": welcome\n\n"
DIVERGED: Final = "The model was started over and its output came out differently. Read it anew."

ID: Final = re.compile(r"(\d{1,15}):(\d{1,9})-([0-9a-f]{1,8})(?:-(\d{1,12}))?(?::([ed]))?")
BREAKS: Final = re.compile(rb"\r\n|\r|\n")


class Frame(NamedTuple):
    event: str
    id: str
    data: bytes

    def encode(self) -> bytes:
        """Every line of the data gets its own `data:`, whatever ends it; a stray carriage return would cut it short."""
        data = self.data
        if b"\n" in data or b"\r" in data:
            data = b"\ndata: ".join(BREAKS.split(data))
        return b"event: %b\nid: %b\ndata: %b\n\n" % (self.event.encode(), self.id.encode(), data)


class Place(Struct, frozen=True, kw_only=True):
    """What a client has of a prediction; in an event's id it means the same to every gateway, live or recorded."""

    run: int = 0
    outputs: int = 0
    digest: int = 0
    """Of all the chunks up to here: whether another run said the same is decided without knowing what it said."""
    logs: int = 0
    status: Status | None = None
    reason: str | None = None
    failed: bool = False
    """The `error` event has been sent, and only `done` is missing."""
    ended: bool = False


def place(last_event_id: str | None) -> Place:
    """Where a client left off; an id that is not ours starts from the beginning."""
    found = ID.fullmatch(last_event_id or "")
    if not found:
        return Place()
    run, outputs, digest, logs, failed = found.groups()
    return Place(run=int(run), outputs=int(outputs), digest=int(digest, 16), logs=int(logs or 0), failed=bool(failed))


class Feed:
    """One client's stream: feed it states of the prediction, get the bytes that it lacks.

    `show` turns a chunk into what clients see. `everything` adds status, logs and metrics; `why` says what a
    prediction waits for that is still starting.
    """

    def __init__(
        self,
        start: Place,
        show: Callable[[Prediction, Raw], bytes],
        *,
        everything: bool = False,
        why: Callable[[], str] | None = None,
    ) -> None:
        self.place = start
        self._show = show
        self._everything = everything
        self._why = why

    def next(self, p: Prediction) -> bytes:
        """Raises nothing; `place.ended` is set once `done` has been given out."""
        return b"".join(frame.encode() for frame in self._frames(p))

    def _frames(self, p: Prediction) -> Iterator[Frame]:
        run = p.run.at if p.run else 0
        if self.place.outputs and self.place.run != run:
            if self._everything:
                self.place = Place(run=run)
                yield self._frame("restarted", b"{}")
            elif len(p.chunks) < self.place.outputs and p.status not in FINAL:
                return
            elif digest(p, self.place.outputs) != self.place.digest:
                yield from self._error(DIVERGED)
                return
        if self.place.run != run:
            self.place = structs.replace(self.place, run=run, logs=0)
        if self._everything:
            yield from self._progress(p)
        if p.kind == "predict" and (p.many or p.status in FINAL):
            yield from self._outputs(p)
        if p.status in FINAL:
            yield from self._end(p)

    def _progress(self, p: Prediction) -> Iterator[Frame]:
        reason = self._why() if self._why and p.status is Status.STARTING else None
        if (self.place.status, self.place.reason) != (p.status, reason):
            self.place = structs.replace(self.place, status=p.status, reason=reason)
            yield self._frame("status", json.encode({"status": p.status} | ({"reason": reason} if reason else {})))
        if self.place.logs < p.logged:
            new = p.logs[self.place.logs :]
            self.place = structs.replace(self.place, logs=p.logged)
            yield self._frame("logs", new.encode())

    def _outputs(self, p: Prediction) -> Iterator[Frame]:
        for chunk in p.chunks.since(self.place.outputs):
            self.place = structs.replace(
                self.place, outputs=self.place.outputs + 1, digest=zlib.crc32(bytes(chunk) + b"\n", self.place.digest)
            )
            yield self._frame("output", self._show(p, chunk))

    def _end(self, p: Prediction) -> Iterator[Frame]:
        if self._everything and p.metrics:
            yield self._frame("metrics", json.encode(p.metrics))
        match p.status:
            case Status.FAILED:
                yield from self._error(p.error or "")
            case Status.CANCELED:
                yield self._done(b'{"reason":"canceled"}')
            case _:
                yield self._done(b"{}")

    def _error(self, detail: str) -> Iterator[Frame]:
        if not self.place.failed:
            self.place = structs.replace(self.place, failed=True)
            yield self._frame("error", json.encode({"detail": detail}))
        yield self._done(b'{"reason":"error"}')

    def _done(self, data: bytes) -> Frame:
        self.place = structs.replace(self.place, ended=True)
        return self._frame("done", data)

    def _frame(self, event: str, data: bytes) -> Frame:
        place = self.place
        id = f"{place.run}:{place.outputs}-{place.digest:x}"
        if self._everything:
            id += f"-{place.logs}"
        if event == "done":
            id += ":d"
        elif place.failed:
            id += ":e"
        return Frame(event, id, data)


def digest(p: Prediction, count: int) -> int:
    """Of the first `count` chunks; -1 if there are fewer."""
    if len(p.chunks) < count:
        return -1
    value = 0
    for chunk in p.chunks.since(0)[:count]:
        value = zlib.crc32(bytes(chunk) + b"\n", value)
    return value
