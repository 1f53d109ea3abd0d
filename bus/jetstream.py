"""JetStream's protocol: streams, consumers, pull requests, acknowledgements and stored messages.

This is the one place that names JetStream's subjects, headers, error codes and acknowledgements. What every prediction
passes through is data (constants, `PullRequest`, `decode_ack`), so that it costs no call; the rest is `JetStream`.

To consume a stream, create the consumer with `JetStream.ensure_consumer`, listen on an inbox, and publish requests:

    await client.listen(inbox, messages.put_nowait)
    request = PullRequest(batch=500, no_wait=True)
    await client.publish(pull_subject("EVENTS", "recorder"), json.encode(request), reply=inbox)

A message that arrives with a `status` comes from the server itself: `IDLE_HEARTBEAT` while it has nothing,
`NO_MESSAGES` or `REQUEST_TIMEOUT` at the end of a request, `CONFLICT` or `NO_RESPONDERS` when the consumer is gone.
All others are settled by publishing `ACK`, `NAK`, `nak(delay)`, `TERM` or `IN_PROGRESS` to their `reply`.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final, Protocol, TypeVar

from msgspec import Struct, json
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from bus.client import NO_RESPONDERS, Client, Message, NoResponders

STREAM_NOT_FOUND: Final = 10059
STREAM_NAME_IN_USE: Final = 10058  # by a stream with another configuration
WRONG_LAST_SEQUENCE: Final = 10071  # the last message of the subject is not the expected one
SUBJECT_FULL: Final = 10077  # the stream could not store it: the subject has `max_msgs_per_subject` messages

IDLE_HEARTBEAT: Final = 100
END_OF_BATCH: Final = 204
NO_MESSAGES: Final = 404
REQUEST_TIMEOUT: Final = 408
CONFLICT: Final = 409

MESSAGE_ID: Final = "Nats-Msg-Id"
"""A stream drops a message whose id it has seen within its `duplicate_window`."""
EXPECTED_LAST_SEQUENCE: Final = "Nats-Expected-Last-Subject-Sequence"
"""A stream refuses a message if the last one of its subject has another sequence number; 0 means that there is none."""
FIRST_OF_SUBJECT: Final = {EXPECTED_LAST_SEQUENCE: "0"}
PENDING_MESSAGES: Final = "Nats-Pending-Messages"
"""How many messages a pull request still asked for when it ended."""
SUBJECT: Final = "Nats-Subject"

ACK: Final = b"+ACK"
NAK: Final = b"-NAK"
TERM: Final = b"+TERM"
IN_PROGRESS: Final = b"+WPI"

SECOND: Final = 1_000_000_000
"""In nanoseconds, which JetStream counts all durations in."""
MAX_BATCH_MESSAGES: Final = 1000
MAX_BATCH_BYTES: Final = 8_000_000

T = TypeVar("T", bound="Reply")


class Refusal(Struct, frozen=True):
    """JetStream's reason for not doing what a request asked for."""

    err_code: int = 0
    description: str = ""


class Reply(Struct, frozen=True):
    """The part that all replies of JetStream have in common."""

    error: Refusal | None = None


class PublishAck(Reply, frozen=True):
    """The acknowledgement of a published message: its sequence number in the stream, or why it was not stored."""

    seq: int = 0


class StreamState(Struct, frozen=True):
    """The contents of a stream: the number of messages on each subject that the request's filter matches."""

    subjects: dict[str, int] | None = None


class StreamInfo(Reply, frozen=True):
    """A stream as JetStream describes it."""

    created: str = ""
    """RFC 3339. A stream that was created anew counts its sequence numbers from 1 again."""
    state: StreamState = StreamState()
    total: int = 0
    """The number of subjects on all pages."""


class PullRequest(Struct, frozen=True, omit_defaults=True):
    """A request for the next messages of a consumer. Durations are in nanoseconds."""

    batch: int
    expires: int = 0
    idle_heartbeat: int = 0
    no_wait: bool = False


class Requester(Protocol):
    """Publishes a message and returns its one reply, or raises what its process raises when there is none."""

    async def __call__(
        self, subject: str, payload: bytes = b"", headers: dict[str, str] | None = None, /
    ) -> Message: ...


decode_ack: Final = json.Decoder(PublishAck).decode


def pull_subject(stream: str, consumer: str) -> str:
    """Return the subject on which the consumer takes a `PullRequest`."""
    return f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"


def nak(delay: float) -> bytes:
    """Return the acknowledgement that has a message delivered again after so many seconds."""
    return b'%b {"delay": %d}' % (NAK, int(delay * SECOND))


def delivery_count(message: Message) -> int:
    """Return how often JetStream has delivered the message, this time included."""
    return int(_ack_token(message, 4))


def pending_count(message: Message) -> int:
    """Return how many messages wait behind this one for the same consumer."""
    return int(_ack_token(message, 8))


class JetStream:
    """JetStream's API over one connection, for the gateway's broker and for the runners' streams and leases.

    Each process brings its own errors: `request` raises those of a missing reply, `refused` makes the one for an error
    code and its description.
    """

    def __init__(self, request: Requester, refused: Callable[[int, str], Exception]) -> None:
        self._request = request
        self._refused = refused

    async def ensure_stream(self, stream: str, config: Mapping[str, object]) -> tuple[StreamInfo, bool]:
        """Describe the stream, and say whether it was missing and had to be created.

        A stream that exists keeps its configuration.
        """
        info = await self._exchange(f"STREAM.INFO.{stream}", None, StreamInfo)
        if info.error is None or info.error.err_code != STREAM_NOT_FOUND:
            return self._checked(info), False
        info = await self._exchange(f"STREAM.CREATE.{stream}", config, StreamInfo)
        if info.error is not None and info.error.err_code == STREAM_NAME_IN_USE:  # somebody else was faster
            return await self._call(f"STREAM.INFO.{stream}", None, StreamInfo), False
        return self._checked(info), True

    async def ensure_consumer(self, stream: str, name: str, config: Mapping[str, object]) -> None:
        """Create the durable consumer, or give an existing one this configuration."""
        body = {"stream_name": stream, "config": {"durable_name": name, "name": name, **config}}
        await self._call(f"CONSUMER.CREATE.{stream}.{name}", body, Reply)

    async def count_messages(self, stream: str, subject: str) -> dict[str, int]:
        """Count the stored messages of each subject that matches `subject`."""
        counts: dict[str, int] = {}
        offset, total = 0, 1
        while offset < total:  # JetStream lists 100,000 subjects at once
            body = {"subjects_filter": subject, "offset": offset}
            info = await self._call(f"STREAM.INFO.{stream}", body, StreamInfo)
            page = info.state.subjects or {}
            counts |= page
            offset, total = offset + len(page), info.total if page else 0
        return counts

    async def purge(self, stream: str, subject: str) -> None:
        """Delete all messages of the subject, which may have wildcards."""
        await self._call(f"STREAM.PURGE.{stream}", {"filter": subject}, Reply)

    async def delete_message(self, stream: str, sequence: int) -> None:
        """Delete one message, without overwriting it on the disk."""
        await self._call(f"STREAM.MSG.DELETE.{stream}", {"seq": sequence, "no_erase": True}, Reply)

    async def get_message(self, stream: str, sequence: int) -> Message:
        """Get a stored message; one with the status `NO_MESSAGES` if the stream does not have it (any more)."""
        return await self._request(f"$JS.API.DIRECT.GET.{stream}", json.encode({"seq": sequence}))

    async def get_last_message(self, stream: str, subject: str) -> Message:
        """Get the last message of a subject; one with the status `NO_MESSAGES` if there is none."""
        return await self._request(f"$JS.API.DIRECT.GET.{stream}.{subject}")

    async def replace_last(self, subject: str, payload: bytes, last_sequence: int) -> int | None:
        """Publish the message if the subject's last one has this sequence number (0: if there is none).

        Returns the new sequence number; None if the last message is another one.
        """
        reply = await self._request(subject, payload, {EXPECTED_LAST_SEQUENCE: str(last_sequence)})
        ack = decode_ack(reply.data)
        if ack.error is not None and ack.error.err_code == WRONG_LAST_SEQUENCE:
            return None
        return self._checked(ack).seq

    async def _call(self, name: str, body: Mapping[str, object] | None, reply_type: type[T]) -> T:
        return self._checked(await self._exchange(name, body, reply_type))

    async def _exchange(self, name: str, body: Mapping[str, object] | None, reply_type: type[T]) -> T:
        reply = await self._request(f"$JS.API.{name}", json.encode(body) if body is not None else b"")
        if reply.status is not None:
            raise self._refused(reply.status, f"{name}: {reply.reason}")
        return json.decode(reply.data, type=reply_type)

    def _checked(self, reply: T) -> T:
        if reply.error is not None:
            raise self._refused(reply.error.err_code, reply.error.description)
        return reply


class ReadRefused(Exception):
    """The server ended a read of stored messages with a status that is not the end of a batch."""

    def __init__(self, status: int) -> None:
        super().__init__(f"direct get ended with status {status}")
        self.status = status


async def read_messages(client: Client, stream: str, subject: str, *, within: float) -> list[Msg]:
    """Read all stored messages of a subject, in order.

    Raises `NoResponders` if nobody serves the stream, `ReadRefused`, and what nats-py raises, such as `TimeoutError`
    when no message comes for `within` seconds.
    """
    messages: list[Msg] = []
    first, has_more = 1, True
    while has_more:
        batch, has_more = await _read_batch(client, stream, subject, first, within)
        messages += batch
        if not batch:
            break
        first = _number(batch[-1], "Nats-Sequence") + 1
    return messages


async def _read_batch(client: Client, stream: str, subject: str, first: int, within: float) -> tuple[list[Msg], bool]:
    """Read messages from the sequence number `first` on, and say whether there are more."""
    query = {"seq": first, "next_by_subj": subject, "batch": MAX_BATCH_MESSAGES, "max_bytes": MAX_BATCH_BYTES}
    inbox = client.new_inbox()
    messages: list[Msg] = []
    subscription = await client.subscribe(inbox, pending_msgs_limit=0, pending_bytes_limit=0)
    try:
        await client.publish(f"$JS.API.DIRECT.GET.{stream}", json.encode(query), reply=inbox)
        while True:
            message = await subscription.next_msg(within)
            if status := _number(message, "Status"):
                break
            messages.append(message)
    finally:
        with suppress(NatsError, OSError):
            await subscription.unsubscribe()
    if status == NO_RESPONDERS:
        raise NoResponders(NoResponders.__doc__)
    if status not in (END_OF_BATCH, NO_MESSAGES):
        raise ReadRefused(status)
    return messages, _number(message, "Nats-Num-Pending") > 0


def _number(message: Msg, header: str) -> int:
    return int((message.headers or {}).get(header, 0))


def _ack_token(message: Message, index: int) -> str:
    """Return a part of `$JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.<consumer sequence>.<time>.<pending>`.

    There may be a domain and an account in the third and fourth place.
    """
    tokens = message.reply.split(".")
    return tokens[index if len(tokens) < 11 else index + 2]
