"""The operations that the guard counts: what Samovar does for a prediction between two system calls."""

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, Final, cast

from msgspec import Raw, Struct, json

from bus.client import Client, Message
from gateway import ids
from gateway.catalog.catalog import Version, as_version
from gateway.events import sse
from gateway.events.in_flight import InFlight
from gateway.events.live_events import LiveEvents
from gateway.http import bodies
from gateway.ids import Capabilities
from gateway.views.resources import Views
from runners.batching.batcher import Batcher
from runners.batching.call import Call
from runners.worker import frames
from runners.worker.frames import Chunk, Done, Item, ItemsStarted, Run
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
    """A counted operation."""

    name: str
    prepare: Callable[[], Once]
    """Returns what is counted; called within a running event loop."""


def decode_create() -> Once:
    """Decode and check the body of a create."""
    version = _create_version()
    return lambda: version.validator.check(bodies.decode_request(BODY, "application/json", 64).input)


def encode_job() -> Once:
    """Encode a job and decode it."""
    job = Job(id=ID, model="acme/model", version="0" * 64, input=Raw(INPUT), created_at=AT)
    return lambda: jobs.decode_job(json.encode(job))


def encode_answer() -> Once:
    """Encode a prediction for a client."""
    views, version, p = _create_views(), _create_version(), _create_ended(1)
    return lambda: json.encode(views.prediction(p, version))


def encode_final() -> Once:
    """Encode a final event and decode it."""
    final = Succeeded(
        id=ID, run=RUN, at=AT, created_at=AT, started_at=AT, values=[TOKENS[0]], metrics={"predict_time": 0.01}
    )
    return lambda: events.decode(events.encode(final))


def encode_one_by_one(count: int) -> Once:
    """Encode the events of an attempt for a client, each as soon as it is published."""
    views, start, outputs = _create_views(), _create_prediction(), _create_outputs(count)

    def once() -> None:
        p, feed = start, sse.StreamEncoder(sse.StreamPosition(), views.chunk_text)
        for event in outputs:
            p = advance(p, event)
            feed.encode(p)

    return once


def encode_at_once(count: int) -> Once:
    """Encode all outputs of an attempt at once, for a client that comes late."""
    views, prediction = _create_views(), _create_ended(count)
    return lambda: sse.StreamEncoder(sse.StreamPosition(), views.chunk_text).encode(prediction)


def advance_by_outputs(count: int) -> Once:
    """Advance a prediction by outputs."""
    start, outputs = _create_prediction(), _create_outputs(count)

    def once() -> Prediction:
        p = start
        for event in outputs:
            p = advance(p, event)
        return p

    return once


def exchange_frames() -> Once:
    """Encode and decode frames to a worker and back."""
    run, chunk = Run([Item(ID, INPUT)]), Chunk(ID, b'"token"', [])

    def once() -> None:
        for frame in frames.take_frames(bytearray(frames.encode_frame(run))):
            frames.decode_to_worker(frame)
        for frame in frames.take_frames(bytearray(frames.encode_frame(chunk) + frames.encode_frame(_create_done(ID)))):
            frames.decode_from_worker(frame)

    return once


def receive_event() -> Once:
    """Pass a message of NATS on to the subscriber of its prediction."""
    nats = _Wire()
    live = LiveEvents(cast(Client, nats), InFlight(subjects.tag(ID)), nats)
    _run_to_end(live.start())
    text = events.encode(Output(id=ID, run=RUN, index=0, values=[TOKENS[0]]))
    message = Message(subjects.live_of(ID)[:-1] + "output", "", text, None)
    subscription = live.subscribe(ID)  # gone with its last reference
    subscriber = subscription.__enter__()

    def once() -> object:
        nats.say(message)
        _run_to_end(subscriber.next_events())
        return subscription

    return once


def batch_jobs() -> Once:
    """Pass 32 jobs through a batcher of 32."""
    worker = _Worker()
    batcher = Batcher(grace=1)
    batcher.attach(worker, size=32, window=0)

    def once() -> None:
        calls = [Call(Item(f"{number:026}", INPUT)) for number in range(32)]
        for call in calls:
            batcher.put(call)
        while (sent := worker.take()) is not None:
            batcher.on_frame(ItemsStarted([item.id for item in sent], 1.0))
            for item in sent:
                batcher.on_frame(_create_done(item.id))

    return once


def draw_id() -> Once:
    """Draw an id, and its stream token."""
    capabilities = Capabilities(b"k" * 32)

    def once() -> None:
        capabilities.prediction_id(capabilities.stream_token(ids.new_id("0000")))

    return once


OPERATIONS: Final = (
    Operation("draw an id and its token", draw_id),
    Operation("read and check a create", decode_create),
    Operation("write and read a job", encode_job),
    Operation("32 jobs in batches", batch_jobs),
    Operation("frames to and from a worker", exchange_frames),
    Operation("write and read a final event", encode_final),
    Operation("hear an event", receive_event),
    Operation("advance by 100 outputs", lambda: advance_by_outputs(100)),
    Operation("send 100 outputs, one by one", lambda: encode_one_by_one(100)),
    Operation("send 100 outputs at once", lambda: encode_at_once(100)),
    Operation("answer with a prediction", encode_answer),
)

GROWING: Final[dict[str, Callable[[int], Once]]] = {
    "advance": advance_by_outputs,
    "send, one by one": encode_one_by_one,
    "send at once": encode_at_once,
}
"""Operations that may take ten times as long for ten times the outputs, and no more."""


class _Wire:
    """The part of a NATS client that `LiveEvents` uses: it keeps the listener."""

    async def listen(self, _: str, on_message: Callable[[Message], None]) -> None:
        self.say = on_message

    def record_soon(self, event: events.Final) -> None: ...


class _Worker:
    """The part of a worker that a batcher uses: it keeps what it is sent."""

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


def _run_to_end(coroutine: Coroutine[Any, Any, object]) -> None:
    """Run a coroutine to its end, which it has to reach without waiting."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError(f"{coroutine} waits")


def _create_views() -> Views:
    return Views("http://127.0.0.1:8000", Capabilities(b"k" * 32), lambda _: "")


def _create_version() -> Version:
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


def _create_prediction() -> Prediction:
    return Prediction(id=ID, account=1, model="acme/model", version="0" * 64, input=Raw(INPUT), created_at=AT)


def _create_ended(count: int) -> Prediction:
    outputs = [TOKENS[number % 100] for number in range(count)]
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
        chunks=Chunks.of(outputs),
    )


def _create_outputs(count: int) -> list[Output]:
    return [Output(id=ID, run=RUN, index=number, values=[TOKENS[number % 100]]) for number in range(count)]


def _create_done(id: str) -> Done:
    return Done(
        id=id, at=2.0, status="ok", many=False, value=b'"x"', files=[], error=None, metrics={"predict_time": 0.01}
    )
