"""How a client gets its answer: a function per protocol, from a request to the moment of its answer."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from time import perf_counter
from typing import Any, Final, NamedTuple

from msgspec import DecodeError, Struct, json

from benchmarks.load.clients import Client
from benchmarks.samples import Protocol
from benchmarks.wire import Answer

SUCCEEDED: Final = b'"status":"succeeded"'
OUTPUT: Final = b"event: output\n"
DONE: Final = b"event: done\n"
REASON: Final = b'{"reason":"'
PIECE: Final = b"data:"
LONGEST: Final = 200  # characters of a reason


class Wrong(Exception):
    """What came is not the answer that was asked for; the message says why."""


class Prepared(NamedTuple):
    """A request as it goes over the wire."""

    which: int
    """Of the plan's."""
    wire: bytes
    expect: bytes = b""
    """What the answer has to have in it."""


class Heard(NamedTuple):
    """When an answer came: moments of `perf_counter`."""

    end: float
    events: list[float]
    """Of its output."""
    begun: float | None = None
    """Where its latency counts from, if not from where it was sent."""


Ask = Callable[[Client, Prepared], Awaitable[Heard]]


async def sync(client: Client, request: Prepared) -> Heard:
    answer, end = await client.ask(request.wire)
    if answer.status >= 300 or SUCCEEDED not in answer.body or request.expect not in answer.body:
        raise Wrong(_why(answer))
    return Heard(end, [])


async def plain(client: Client, request: Prepared) -> Heard:
    answer, end = await client.ask(request.wire)
    if answer.status >= 300 or request.expect not in answer.body:
        raise Wrong(_why(answer))
    return Heard(end, [])


async def plain_stream(client: Client, request: Prepared) -> Heard:
    """Each piece is an event, and in a piece with server-sent events each of them."""
    events: list[float] = []
    answer, end = await client.ask(request.wire, lambda at, piece: events.extend([at] * (piece.count(PIECE) or 1)))
    if answer.status >= 300 or request.expect not in answer.body:
        raise Wrong(_why(answer))
    return Heard(end, events)


async def streamed(client: Client, request: Prepared) -> Heard:
    """A create, then its stream until `done`."""
    created = await _create(client, request)
    events: list[float] = []
    answer, end = await client.ask(
        client.get(created.stream()), lambda at, piece: events.extend([at] * piece.count(OUTPUT))
    )
    if reason := _ended(answer):
        raise Wrong(reason)
    if request.expect not in answer.body:
        raise Wrong(_why(answer))
    return Heard(end, events)


async def canceled(client: Client, request: Prepared) -> Heard:
    """A create, and a cancel once its stream is open; counted from the cancel until the stream says `done`."""
    created = await _create(client, request)
    opened = asyncio.Event()

    def hear(_: float, __: bytes) -> None:
        opened.set()

    following = asyncio.ensure_future(client.ask(client.get(created.stream()), hear))
    opening = asyncio.ensure_future(opened.wait())
    try:
        await asyncio.wait([following, opening], return_when=asyncio.FIRST_COMPLETED)
        begun = perf_counter()
        await client.ask_aside(client.post(created.urls.cancel))
        answer, end = await following
    finally:
        following.cancel()
        opening.cancel()
    if (reason := _ended(answer)) != "canceled":
        raise Wrong(reason or "it ended before it was canceled: it needs an input that takes longer")
    return Heard(end, [], begun)


PROTOCOLS: Final[Mapping[Protocol, Ask]] = {
    "sync": sync,
    "async": streamed,
    "stream": streamed,
    "cancel": canceled,
    "plain": plain,
    "plain-stream": plain_stream,
}


class _Urls(Struct):
    get: str
    cancel: str
    stream: str | None = None


class _Created(Struct):
    urls: _Urls

    def stream(self) -> str:
        """Clients get none for an output in one piece; what the site follows is there for all."""
        return self.urls.stream or self.urls.get.replace("/v1/predictions/", "/-/predictions/") + "/events"


async def _create(client: Client, request: Prepared) -> _Created:
    answer, _ = await client.ask(request.wire)
    if answer.status >= 300:
        raise Wrong(_why(answer))
    try:
        return json.decode(answer.body, type=_Created)
    except DecodeError:
        raise Wrong("no prediction with a stream was made") from None


def _ended(answer: Answer) -> str:
    """Why a stream of server-sent events did not end well; empty if it did."""
    if answer.status != 200:
        return _why(answer)
    *_, last = answer.body.rpartition(DONE)
    if len(last) == len(answer.body):
        return "the stream broke off before it was done"
    return last.partition(REASON)[2].partition(b'"')[0].decode()


def _why(answer: Answer) -> str:
    """What a problem document, or a prediction that went wrong, says of itself."""
    told = _told(answer.body)
    said = told.get("invalid_fields") or told.get("detail") or told.get("error") or told.get("status")
    if isinstance(said, list):
        said = "; ".join(f"{field.get('field')}: {field.get('description')}" for field in said)
    if answer.status >= 300:
        return f"status {answer.status}" + (f": {said}"[:LONGEST] if said else "")
    return str(said)[:LONGEST] if said and said != "succeeded" else "another answer than expected"


def _told(body: bytes) -> dict[str, Any]:
    try:
        told = json.decode(body)
    except DecodeError:
        return {}
    return told if isinstance(told, dict) else {}
