"""The protocols of clients: a function for each, from a request to the times of its answer."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from time import perf_counter
from typing import Any, Final, NamedTuple

from msgspec import DecodeError, Struct, json

from benchmarks.load.clients import Client
from benchmarks.samples import Protocol
from benchmarks.wire import HttpAnswer

SUCCEEDED: Final = b'"status":"succeeded"'
OUTPUT: Final = b"event: output\n"
DONE: Final = b"event: done\n"
REASON: Final = b'{"reason":"'
PIECE: Final = b"data:"
MAX_REASON: Final = 200  # characters of a reason


class WrongAnswer(Exception):
    """The answer is not what was asked for; the message says why."""


class PreparedRequest(NamedTuple):
    """A request as bytes."""

    number: int
    """The number of the plan's request."""
    wire: bytes
    expect: bytes = b""
    """A text that the answer has to contain."""


class AnswerTimes(NamedTuple):
    """The times of an answer, from `perf_counter`."""

    end: float
    events: list[float]
    """The times of the output's events."""
    begun: float | None = None
    """When the latency begins, if not when the request was sent."""


RequestFunction = Callable[[Client, PreparedRequest], Awaitable[AnswerTimes]]


async def request_sync(client: Client, request: PreparedRequest) -> AnswerTimes:
    """Create a prediction with `Prefer: wait`."""
    answer, end = await client.ask(request.wire)
    if answer.status >= 300 or SUCCEEDED not in answer.body or request.expect not in answer.body:
        raise WrongAnswer(_describe_problem(answer))
    return AnswerTimes(end, [])


async def request_plain(client: Client, request: PreparedRequest) -> AnswerTimes:
    """POST the input to a server other than Samovar."""
    answer, end = await client.ask(request.wire)
    if answer.status >= 300 or request.expect not in answer.body:
        raise WrongAnswer(_describe_problem(answer))
    return AnswerTimes(end, [])


async def request_plain_stream(client: Client, request: PreparedRequest) -> AnswerTimes:
    """POST the input to another server, and read its output in pieces.

    Each piece counts as an event; if it has server-sent events, each of these does.
    """
    events: list[float] = []
    answer, end = await client.ask(request.wire, lambda at, piece: events.extend([at] * (piece.count(PIECE) or 1)))
    if answer.status >= 300 or request.expect not in answer.body:
        raise WrongAnswer(_describe_problem(answer))
    return AnswerTimes(end, events)


async def request_stream(client: Client, request: PreparedRequest) -> AnswerTimes:
    """Create a prediction, then follow its stream until `done`."""
    created = await _create(client, request)
    events: list[float] = []
    answer, end = await client.ask(
        client.get(created.stream()), lambda at, piece: events.extend([at] * piece.count(OUTPUT))
    )
    if reason := _end_reason(answer):
        raise WrongAnswer(reason)
    if request.expect not in answer.body:
        raise WrongAnswer(_describe_problem(answer))
    return AnswerTimes(end, events)


async def request_cancel(client: Client, request: PreparedRequest) -> AnswerTimes:
    """Create a prediction, and cancel it once its stream is open.

    The latency counts from the cancel until the stream says `done`.
    """
    created = await _create(client, request)
    stream_open = asyncio.Event()

    def on_chunk(_: float, __: bytes) -> None:
        stream_open.set()

    following = asyncio.ensure_future(client.ask(client.get(created.stream()), on_chunk))
    opening = asyncio.ensure_future(stream_open.wait())
    try:
        await asyncio.wait([following, opening], return_when=asyncio.FIRST_COMPLETED)
        canceled_at = perf_counter()
        await client.ask_aside(client.post(created.urls.cancel))
        answer, end = await following
    finally:
        following.cancel()
        opening.cancel()
    if (reason := _end_reason(answer)) != "canceled":
        raise WrongAnswer(reason or "the prediction ended before it was canceled; use an input that takes longer")
    return AnswerTimes(end, [], canceled_at)


PROTOCOLS: Final[Mapping[Protocol, RequestFunction]] = {
    "sync": request_sync,
    "async": request_stream,
    "stream": request_stream,
    "cancel": request_cancel,
    "plain": request_plain,
    "plain-stream": request_plain_stream,
}


class _Urls(Struct):
    get: str
    cancel: str
    stream: str | None = None


class _Created(Struct):
    urls: _Urls

    def stream(self) -> str:
        """Return the stream's URL; without one, as for an output in one piece, the stream that the site follows."""
        return self.urls.stream or self.urls.get.replace("/v1/predictions/", "/-/predictions/") + "/events"


async def _create(client: Client, request: PreparedRequest) -> _Created:
    answer, _ = await client.ask(request.wire)
    if answer.status >= 300:
        raise WrongAnswer(_describe_problem(answer))
    try:
        return json.decode(answer.body, type=_Created)
    except DecodeError:
        raise WrongAnswer("the server created no prediction with a stream") from None


def _end_reason(answer: HttpAnswer) -> str:
    """Return why a stream of server-sent events did not end well; empty if it did."""
    if answer.status != 200:
        return _describe_problem(answer)
    *_, last = answer.body.rpartition(DONE)
    if len(last) == len(answer.body):
        return "the stream broke off before it was done"
    return last.partition(REASON)[2].partition(b'"')[0].decode()


def _describe_problem(answer: HttpAnswer) -> str:
    """Return the reason in a problem document, or in a prediction that went wrong."""
    document = _decode_object(answer.body)
    reason = document.get("invalid_fields") or document.get("detail") or document.get("error") or document.get("status")
    if isinstance(reason, list):
        reason = "; ".join(f"{field.get('field')}: {field.get('description')}" for field in reason)
    if answer.status >= 300:
        return f"status {answer.status}" + (f": {reason}"[:MAX_REASON] if reason else "")
    return str(reason)[:MAX_REASON] if reason and reason != "succeeded" else "another answer than expected"


def _decode_object(body: bytes) -> dict[str, Any]:
    try:
        value = json.decode(body)
    except DecodeError:
        return {}
    return value if isinstance(value, dict) else {}
