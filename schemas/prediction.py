"""A prediction, and `advance`, the only way in which it changes."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Literal, Self

from msgspec import Raw, Struct, structs

from schemas.events import Canceled, Crashed, Event, Failed, Log, Output, Run, Started, Succeeded
from schemas.events import Final as FinalEvent


class Status(StrEnum):
    """The status of a prediction, in Replicate's words."""

    STARTING = "starting"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


FINAL: Final = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELED})

STATUS_AFTER: Final[dict[type[Event], Status]] = {
    Started: Status.PROCESSING,
    Output: Status.PROCESSING,
    Log: Status.PROCESSING,
    Succeeded: Status.SUCCEEDED,
    Failed: Status.FAILED,
    Canceled: Status.CANCELED,
}
"""The table of transitions: the status that each event brings to a prediction that is not final.

A final status stays, whatever comes, and an event that is not here changes none. `advance` follows this table, and
tests hold the statements of the database to it. `reject_result` is the one exception.
"""


class EventGap(Exception):
    """An event refers to earlier events that are missing; read the prediction's events again."""


class Chunks(Struct, frozen=True, gc=False):
    """A growing list as a value: the newest one shares its storage with all earlier ones, so adding never copies."""

    storage: list[Any]
    length: int

    @classmethod
    def of(cls, items: Iterable[Any] = ()) -> Self:
        """Make a list of its own of these items."""
        storage = list(items)
        return cls(storage, len(storage))

    def plus(self, items: Iterable[Any]) -> "Chunks":
        """Return the list with these items at its end."""
        storage = self.storage if len(self.storage) == self.length else self.storage[: self.length]
        storage.extend(items)
        return Chunks(storage, len(storage))

    def since(self, start: int) -> list[Any]:
        """Return the items from the index `start` on."""
        return self.storage[start : self.length]

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Any]:
        return iter(self.storage[: self.length])


class Prediction(Struct, frozen=True, kw_only=True):
    """A prediction, a push or a training, as the database has it and as its events change it."""

    id: str
    account: int
    model: str
    version: str
    input: Raw
    created_at: datetime
    status: Status = Status.STARTING
    kind: Literal["predict", "build", "train"] = "predict"
    """build: a push; train: a training. They end, are followed and are canceled like predictions."""
    secret: bool = False
    """Whether its input holds sealed secrets."""
    source: str = "api"
    pool: str = "default"
    """The pool whose queue its job waits in."""
    deployment: str | None = None
    """owner/name of the deployment that created it."""
    destination: str | None = None
    """For a training: owner/name of the model that its result becomes a version of."""
    webhook: str | None = None
    webhook_events: tuple[str, ...] | None = None
    """Some of start, output, logs and completed; None means output and completed."""
    webhook_base: str | None = None
    """The base URL that its creator called, for the URLs in the body of the webhook."""
    request: bytes | None = None
    """Hash of the request that created it, for clients that repeat requests by themselves."""
    deadline: datetime | None = None
    cancel_requested_at: datetime | None = None
    attempt: int = 1
    started_at: datetime | None = None
    completed_at: datetime | None = None
    error: str | None = None
    metrics: dict[str, Any] = {}
    run: Run | None = None
    many: bool = False
    """Whether the output is a list of chunks, rather than the only chunk or nothing."""
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
        """The whole log."""
        return "".join(self.text)

    @property
    def output(self) -> Raw | None:
        """The JSON text of the output; None if there is none."""
        if self.many:
            return Raw(b"[" + b",".join(bytes(chunk) for chunk in self.chunks) + b"]")
        return next(iter(self.chunks), None)


def advance(p: Prediction, event: Event) -> Prediction:
    """Return the prediction after `event`. Late and repeated events change nothing.

    Raises `EventGap` when events between `p` and `event` are missing.
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
        # The first outputs may come before `Started`, which waits to see whether the run lasts.
        p = structs.replace(p, status=Status.PROCESSING)
    match event:
        case Started(at=at):
            return structs.replace(p, status=Status.PROCESSING, started_at=at)
        case Output(index=index, values=values, files=files):
            count = len(p.chunks)
            if index > count:
                raise EventGap
            new = values[count - index :]
            return structs.replace(p, many=True, chunks=p.chunks.plus(new), files=p.files + tuple(files)) if new else p
        case Log(offset=offset, text=text):
            if offset > p.logged:
                raise EventGap
            new = text[p.logged - offset :]
            return structs.replace(p, text=p.text.plus([new]), logged=p.logged + len(new)) if new else p
        case Crashed():
            return p


def replay(p: Prediction, events: Iterable[Event]) -> Prediction:
    """Return the prediction after all of its events.

    A final event decides which run counts: the broker accepted it, whatever other runs have published since.
    Raises `EventGap` when events that the final event counts on are missing.
    """
    items = list(events)
    final = next((event for event in items if isinstance(event, FinalEvent)), None)
    for event in items:
        if final is None or event.run == final.run:
            p = advance(p, event)
    return p


def reject_result(p: Prediction, error: str) -> Prediction:
    """Return a push or training as failed that succeeded, but of whose result no version can be made.

    This is decided before anybody is told of its end, so nobody sees it succeed first.
    """
    return structs.replace(p, status=Status.FAILED, error=error)


def _restart(p: Prediction, run: Run | None) -> Prediction:
    return structs.replace(
        p, run=run, many=False, chunks=Chunks.of(), text=Chunks.of(), logged=0, files=(), started_at=None
    )


def _end(p: Prediction, event: FinalEvent) -> Prediction:
    if event.run != p.run:
        p = _restart(p, event.run)
    if event.outputs != len(p.chunks) or event.logs != p.logged:
        raise EventGap
    return structs.replace(
        p,
        status=STATUS_AFTER[type(event)],
        error=None if isinstance(event, Succeeded) else event.error,
        many=event.many,
        chunks=p.chunks.plus(event.values),
        text=p.text.plus([event.log] if event.log else []),
        logged=p.logged + len(event.log),
        files=p.files + tuple(event.files),
        started_at=event.started_at or p.started_at,
        completed_at=event.at,
        metrics=event.metrics,
    )
