"""A prediction, and the only way it changes: `advance`."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Literal, Self

from msgspec import Raw, Struct, structs

from schemas.events import Canceled, Crashed, Event, Failed, Log, Output, Run, Started, Succeeded
from schemas.events import Final as FinalEvent


class Status(StrEnum):
    STARTING = "starting"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


FINAL: Final = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELED})


class Gap(Exception):
    """An event speaks of something that was not heard; read the prediction's events again."""


class Chunks(Struct, frozen=True, gc=False):
    """A growing list as a value: the newest one shares its storage with all before it, so adding never copies."""

    storage: list[Any]
    length: int

    @classmethod
    def of(cls, items: Iterable[Any] = ()) -> Self:
        storage = list(items)
        return cls(storage, len(storage))

    def plus(self, items: Iterable[Any]) -> "Chunks":
        storage = self.storage if len(self.storage) == self.length else self.storage[: self.length]
        storage.extend(items)
        return Chunks(storage, len(storage))

    def since(self, start: int) -> list[Any]:
        return self.storage[start : self.length]

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Any]:
        return iter(self.storage[: self.length])


class Prediction(Struct, frozen=True, kw_only=True):
    id: str
    account: int
    model: str
    version: str
    input: Raw
    created_at: datetime
    status: Status = Status.STARTING
    kind: Literal["predict", "build", "train"] = "predict"
    """build: a push; train: a training. They end, are followed and are canceled like any other."""
    secret: bool = False
    """Its input holds sealed texts."""
    source: str = "api"
    pool: str = "default"
    """Whose queue its job waits in."""
    deployment: str | None = None
    """owner/name of the one that it was made by."""
    destination: str | None = None
    """Of a training: owner/name of the model that its result becomes a version of."""
    webhook: str | None = None
    webhook_events: tuple[str, ...] | None = None
    """Which of start, output, logs, completed; None: output and completed."""
    webhook_base: str | None = None
    """What its creator called: of the URLs in what the webhook is sent."""
    request: bytes | None = None
    """Hash of the request that made it, of clients that repeat requests by themselves."""
    deadline: datetime | None = None
    cancel_requested_at: datetime | None = None
    attempt: int = 1
    started_at: datetime | None = None
    completed_at: datetime | None = None
    error: str | None = None
    metrics: dict[str, Any] = {}
    run: Run | None = None
    many: bool = False
    """The output is a list of chunks, rather than the only chunk or nothing."""
    chunks: Chunks = Chunks([], 0)
    """JSON texts (`msgspec.Raw`)."""
    text: Chunks = Chunks([], 0)
    """Pieces of the log."""
    logged: int = 0
    """Characters in them."""
    files: tuple[str, ...] = ()
    data_removed: bool = False

    @property
    def logs(self) -> str:
        return "".join(self.text)

    @property
    def output(self) -> Raw | None:
        if self.many:
            return Raw(b"[" + b",".join(bytes(chunk) for chunk in self.chunks) + b"]")
        return next(iter(self.chunks), None)


def advance(p: Prediction, event: Event) -> Prediction:
    """The prediction after `event`. Late and repeated events change nothing.

    Raises `Gap` when something between `p` and `event` was not heard.
    """
    if p.status in FINAL:
        return p
    if isinstance(event, FinalEvent):
        return _end(p, event)
    if p.run is not None and event.run < p.run:
        return p
    if event.run != p.run:
        p = _restart(p, event.run)
    if p.status is Status.STARTING and isinstance(event, Output | Log):
        # What is said at once is said before `Started`, which waits to see whether the run lasts.
        p = structs.replace(p, status=Status.PROCESSING)
    match event:
        case Started(at=at):
            return structs.replace(p, status=Status.PROCESSING, started_at=at)
        case Output(index=index, values=values, files=files):
            seen = len(p.chunks)
            if index > seen:
                raise Gap
            new = values[seen - index :]
            return structs.replace(p, many=True, chunks=p.chunks.plus(new), files=p.files + tuple(files)) if new else p
        case Log(offset=offset, text=text):
            if offset > p.logged:
                raise Gap
            new = text[p.logged - offset :]
            return structs.replace(p, text=p.text.plus([new]), logged=p.logged + len(new)) if new else p
        case Crashed():
            return p


def replay(p: Prediction, events: Iterable[Event]) -> Prediction:
    """The prediction after all that was said of it.

    A final event decides which run counts: the broker took it, whatever was said by others since.
    Raises `Gap` when what the final event counts on is missing.
    """
    said = list(events)
    final = next((event for event in said if isinstance(event, FinalEvent)), None)
    for event in said:
        if final is None or event.run == final.run:
            p = advance(p, event)
    return p


def _restart(p: Prediction, run: Run | None) -> Prediction:
    return structs.replace(
        p, run=run, many=False, chunks=Chunks.of(), text=Chunks.of(), logged=0, files=(), started_at=None
    )


def _end(p: Prediction, event: FinalEvent) -> Prediction:
    if event.run != p.run:
        p = _restart(p, event.run)
    if event.outputs != len(p.chunks) or event.logs != p.logged:
        raise Gap
    match event:
        case Succeeded():
            status, error = Status.SUCCEEDED, None
        case Failed(error=error):
            status = Status.FAILED
        case Canceled(error=error):
            status = Status.CANCELED
    return structs.replace(
        p,
        status=status,
        error=error,
        many=event.many,
        chunks=p.chunks.plus(event.values),
        text=p.text.plus([event.log] if event.log else []),
        logged=p.logged + len(event.log),
        files=p.files + tuple(event.files),
        started_at=event.started_at or p.started_at,
        completed_at=event.at,
        metrics=event.metrics,
    )
