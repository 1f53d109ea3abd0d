"""What the guard counts: what Samovar itself does for a prediction between two system calls, one operation each."""

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, Final, cast

from msgspec import Raw, Struct, json

from bus.client import Client, Heard
from gateway import ids
from gateway.catalog.catalog import Version, as_version
from gateway.events import sse
from gateway.events.subscriptions import Live
from gateway.http import bodies
from gateway.ids import Capabilities
from gateway.views.resources import Views
from runners.batching.batcher import Batcher
from runners.batching.call import Call
from runners.worker import frames
from runners.worker.frames import Began, Chunk, Done, Item, Run
from schemas import events, jobs, subjects
from schemas.events import Output, Succeeded
from schemas.jobs import Job
from schemas.prediction import Chunks, Prediction, Status, advance

Once = Callable[[], object]

AT: Final = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
RUN: Final = events.Run(1, 1_767_323_045_000, "host-1")
ID: Final = "0" * subjects.TAG_LENGTH + "1" * (subjects.ID_LENGTH - subjects.TAG_LENGTH)
INPUT: Final = b'{"text":"A shepherd waits for the rain to stop behind the station.","seed":7,"scale":0.5}'
BODY: Final = b'{"input":%b}' % INPUT
TOKENS: Final = [Raw(b'"token%d "' % number) for number in range(100)]
PROPERTIES: Final = {
    "text": {"type": "string", "title": "Text", "x-order": 0},
    "seed": {"type": "integer", "title": "Seed", "nullable": True, "x-order": 1},
    "scale": {"type": "number", "title": "Scale", "minimum": 0, "maximum": 1, "default": 1, "x-order": 2},
}
SCHEMA: Final = json.encode(
    {
        "components": {
            "schemas": {
                "Input": {"type": "object", "title": "Input", "required": ["text"], "properties": PROPERTIES},
                "Output": {"type": "array", "items": {"type": "string"}, "x-cog-array-type": "iterator"},
            }
        }
    }
).decode()


class Operation(Struct, frozen=True):
    name: str
    prepare: Callable[[], Once]
    """Gives what is counted; within a running event loop."""


def read_a_create() -> Once:
    version = _version()
    return lambda: version.validator.check(bodies.body(BODY, "application/json", 64).input)


def write_a_job() -> Once:
    job = Job(id=ID, model="acme/model", version="0" * 64, input=Raw(INPUT), created_at=AT)
    return lambda: jobs.decode_job(json.encode(job))


def answer() -> Once:
    views, version, p = _views(), _version(), _ended(1)
    return lambda: json.encode(views.prediction(p, version))


def write_and_read_a_final() -> Once:
    final = Succeeded(
        id=ID, run=RUN, at=AT, created_at=AT, started_at=AT, values=[TOKENS[0]], metrics={"predict_time": 0.01}
    )
    return lambda: events.decode(events.encode(final))


def follow(count: int) -> Once:
    """The events of a run, each as soon as it is said: advanced, and sent as a frame."""
    views, start, said = _views(), _p(), _said(count)

    def once() -> None:
        p, feed = start, sse.Feed(sse.Place(), views.chunk)
        for event in said:
            p = advance(p, event)
            feed.next(p)

    return once


def catch_up(count: int) -> Once:
    """All outputs of a run at once, for a client that comes late."""
    views, p = _views(), _ended(count)
    return lambda: sse.Feed(sse.Place(), views.chunk).next(p)


def advanced(count: int) -> Once:
    start, said = _p(), _said(count)

    def once() -> Prediction:
        p = start
        for event in said:
            p = advance(p, event)
        return p

    return once


def frames_to_and_fro() -> Once:
    run, chunk = Run([Item(ID, INPUT)]), Chunk(ID, b'"token"', [])

    def once() -> None:
        for frame in frames.split(bytearray(frames.pack(run))):
            frames.decode_to_worker(frame)
        for frame in frames.split(bytearray(frames.pack(chunk) + frames.pack(_done(ID)))):
            frames.decode_from_worker(frame)

    return once


def hear() -> Once:
    """A message of NATS, until the one who listens has the event."""
    wire = _Wire()
    live = Live(cast(Client, wire), subjects.tag(ID), _ended_somewhere)
    _driven(live.start())
    text = events.encode(Output(id=ID, run=RUN, index=0, values=[TOKENS[0]]))
    message = Heard(subjects.live_of(ID)[:-1] + "output", "", text, None)
    listening = live.listen(ID)  # gone with its last reference
    ear = listening.__enter__()

    def once() -> object:
        wire.say(message)
        _driven(ear.next())
        return listening

    return once


def batch() -> Once:
    """32 jobs through a batcher of 32."""
    worker = _Worker()
    batcher = Batcher(grace=1)
    batcher.attach(worker, size=32, window=0)

    def once() -> None:
        calls = [Call(Item(f"{number:026}", INPUT)) for number in range(32)]
        for call in calls:
            batcher.put(call)
        while (sent := worker.take()) is not None:
            batcher.heard(Began([item.id for item in sent], 1.0))
            for item in sent:
                batcher.heard(_done(item.id))

    return once


def draw() -> Once:
    capabilities = Capabilities(b"k" * 32)

    def once() -> None:
        capabilities.id(capabilities.token(ids.draw("0000")))

    return once


OPERATIONS: Final = (
    Operation("draw an id and its token", draw),
    Operation("read and check a create", read_a_create),
    Operation("write and read a job", write_a_job),
    Operation("32 jobs in batches", batch),
    Operation("frames to and from a worker", frames_to_and_fro),
    Operation("write and read a final event", write_and_read_a_final),
    Operation("hear an event", hear),
    Operation("advance by 100 outputs", lambda: advanced(100)),
    Operation("send 100 outputs, one by one", lambda: follow(100)),
    Operation("send 100 outputs at once", lambda: catch_up(100)),
    Operation("answer with a prediction", answer),
)

GROWING: Final[dict[str, Callable[[int], Once]]] = {
    "advance": advanced,
    "send, one by one": follow,
    "send at once": catch_up,
}
"""What has to take ten times as long for ten times the outputs, and not more."""


class _Wire:
    """Of a NATS client, what `Live` asks for: it keeps who listens."""

    async def hear(self, _: str, heard: Callable[[Heard], None]) -> None:
        self.say = heard


class _Worker:
    """Of a worker, what a batcher asks for: it keeps what it is sent."""

    def __init__(self) -> None:
        self._sent: list[list[Item]] = []

    def run(self, items: list[Item]) -> None:
        self._sent.append(items)

    def take(self) -> list[Item] | None:
        return self._sent.pop(0) if self._sent else None

    def stop(self, ids: list[str]) -> None: ...
    def kill(self) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...


def _ended_somewhere(final: events.Final, heard: bool) -> None: ...


def _driven(coroutine: Coroutine[Any, Any, object]) -> None:
    """To its end, which it has to reach without waiting."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError(f"{coroutine} waits")


def _views() -> Views:
    return Views("http://127.0.0.1:8000", Capabilities(b"k" * 32), lambda _: "")


def _version() -> Version:
    return as_version(
        {
            "id": "0" * 64,
            "owner": "acme",
            "name": "model",
            "pool": "default",
            "cog_version": "0.23.1",
            "created_at": AT,
            "openapi_schema": SCHEMA,
            "labels": "{}",
            "pack": None,
            "base": None,
        }
    )


def _p() -> Prediction:
    return Prediction(id=ID, account=1, model="acme/model", version="0" * 64, input=Raw(INPUT), created_at=AT)


def _ended(count: int) -> Prediction:
    said = [TOKENS[number % 100] for number in range(count)]
    return Prediction(
        id=ID,
        account=1,
        model="acme/model",
        version="0" * 64,
        input=Raw(INPUT),
        created_at=AT,
        status=Status.SUCCEEDED,
        started_at=AT,
        completed_at=AT,
        metrics={"predict_time": 0.01},
        run=RUN,
        many=True,
        chunks=Chunks.of(said),
    )


def _said(count: int) -> list[Output]:
    return [Output(id=ID, run=RUN, index=number, values=[TOKENS[number % 100]]) for number in range(count)]


def _done(id: str) -> Done:
    return Done(
        id=id, at=2.0, status="ok", many=False, value=b'"x"', files=[], error=None, metrics={"predict_time": 0.01}
    )
