"""nats-py's client, with a shorter path through it for the messages of every prediction.

nats-py spends a queue, a task and a dictionary of headers on each message that it receives, and a flush with a future
on each message that it publishes: together 40 µs of a prediction's time in a gateway. `Client` reaches into the class
that it extends, so the version of nats-py is pinned, and `tests/bus` tries each path against a real server.
"""

# pyright: reportPrivateUsage=false

import asyncio
import itertools
from collections.abc import Callable, Mapping
from typing import Any, Final

from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import BadSubjectError, MaxPayloadError

MAX_BUFFERED_BYTES: Final = 1 << 20  # of unsent data; beyond that, a publisher waits for the server to read
VERSION: Final = b"NATS/1.0"
STATUS_SLICE: Final = slice(len(VERSION) + 1, len(VERSION) + 4)
NO_RESPONDERS: Final = 503


class NoAnswer(Exception):
    """Nobody answered in time, or the connection broke before the reply came."""


class NoResponders(NoAnswer):
    """Nobody listens on that subject."""


class Message:
    """A received message. Its headers are parsed on access."""

    __slots__ = ("_head", "data", "reply", "subject")

    def __init__(self, subject: str, reply: str, data: bytes, head: bytes | None) -> None:
        self.subject = subject
        self.reply = reply
        self.data = data
        self._head = head

    @property
    def status(self) -> int | None:
        """The status that the server itself sends instead of a message, such as 404; None for a message."""
        head = self._head
        return int(head[STATUS_SLICE]) if head is not None and head[len(VERSION) : len(VERSION) + 1] == b" " else None

    @property
    def reason(self) -> str:
        """The server's explanation of the status."""
        return (
            self._head[STATUS_SLICE.stop : self._head.index(b"\r\n")].decode().strip() if self._head is not None else ""
        )

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the message."""
        return NatsClient._parse_header_lines(self._head.partition(b"\r\n")[2]) if self._head else {}


class Client(NatsClient):
    """A connection to NATS: `listen`, `ask` and `publish` take the short path, everything else is nats-py's.

    The gateway's broker and the runners' connection each own one.
    """

    def __init__(self) -> None:
        super().__init__()
        self._listeners: dict[int, Callable[[Message], None]] = {}
        self._requests: dict[str, asyncio.Future[Message]] = {}
        self._request_numbers = itertools.count()
        self._reply_prefix = ""
        self._flush_handle: asyncio.Handle | None = None

    async def listen(self, subject: str, on_message: Callable[[Message], None], *, queue: str = "") -> Subscription:
        """Call `on_message` with each message of the subject as soon as it is read, in order.

        It must be quick. What it raises goes to the connection's `error_cb`.
        """
        subscription = await self.subscribe(subject, queue=queue, cb=_ignore)
        # No message can have come yet: the server learns of the subscription with the next flush.
        self._listeners[subscription._id] = on_message
        return subscription

    async def ask(
        self, subject: str, payload: bytes = b"", headers: Mapping[str, str] | None = None, *, within: float
    ) -> Message:
        """Publish a message and return its one reply.

        Raises `NoAnswer` after `within` seconds, or when `fail_requests` is called.
        """
        if not self._reply_prefix:
            self._reply_prefix = self.new_inbox()
            await self.listen(f"{self._reply_prefix}.*", self._on_reply)
        reply = f"{self._reply_prefix}.{next(self._request_numbers)}"
        loop = asyncio.get_running_loop()
        self._requests[reply] = response = loop.create_future()
        timer = loop.call_later(within, _fail, response)
        try:
            await self.publish(subject, payload, reply, headers)
            return await response
        finally:
            timer.cancel()
            del self._requests[reply]

    def fail_requests(self) -> None:
        """Raise `NoAnswer` in every pending `ask`: the connection that the replies should come by is gone."""
        for response in self._requests.values():
            _fail(response)

    async def publish(  # pyright: ignore[reportIncompatibleMethodOverride]  any mapping will do
        self, subject: str, payload: bytes = b"", reply: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """Publish a message, together with all others of this turn of the event loop."""
        if self._can_write_now:
            self.publish_nowait(subject, payload, reply, headers)
        else:
            await super().publish(subject, payload, reply, dict(headers) if headers else None)

    def publish_nowait(
        self, subject: str, payload: bytes = b"", reply: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """Publish a message without waiting; while the connection is down, keep it until the connection is back."""
        if len(payload) > self._max_payload:
            raise MaxPayloadError
        if not subject or " " in subject:
            raise BadSubjectError
        command = _encode(subject, payload, reply, headers)
        self._pending.append(command)
        self._pending_data_size += len(command)
        if self._flush_handle is None:
            self._flush_handle = asyncio.get_running_loop().call_soon(self._flush_now)

    @property
    def _can_write_now(self) -> bool:
        """Whether the server keeps up, so that a publisher need not wait for it."""
        writer = getattr(self._transport, "_io_writer", None)
        return (
            self.is_connected and writer is not None and writer.transport.get_write_buffer_size() < MAX_BUFFERED_BYTES
        )

    def _flush_now(self) -> None:
        self._flush_handle = None
        if self._pending and self.is_connected and self._transport is not None:
            pending, self._pending, self._pending_data_size = self._pending, [], 0
            self._transport.writelines(pending)

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: Any) -> None:
        on_message = self._listeners.get(sid)
        if on_message is None:
            await super()._process_msg(sid, subject, reply, data, headers)
            return
        try:
            on_message(Message(subject.decode(), reply.decode(), data, headers))
        except Exception as error:  # noqa: BLE001  one message must not end the connection
            await self._error_cb(error)

    def _remove_sub(self, sid: int, max_msgs: int = 0) -> None:
        self._listeners.pop(sid, None)
        super()._remove_sub(sid, max_msgs)

    def _on_reply(self, message: Message) -> None:
        response = self._requests.get(message.subject)
        if response is None or response.done():
            return
        if message.status == NO_RESPONDERS:
            response.set_exception(NoResponders(NoResponders.__doc__))
        else:
            response.set_result(message)


def _encode(subject: str, payload: bytes, reply: str, headers: Mapping[str, str] | None) -> bytes:
    to = f"{subject} {reply}" if reply else subject
    if not headers:
        return b"PUB %b %d\r\n%b\r\n" % (to.encode(), len(payload), payload)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = b"%b\r\n%b\r\n" % (VERSION, lines.encode())
    return b"HPUB %b %d %d\r\n%b%b\r\n" % (to.encode(), len(head), len(head) + len(payload), head, payload)


def _fail(response: asyncio.Future[Message]) -> None:
    if not response.done():
        response.set_exception(NoAnswer("no answer from NATS"))


async def _ignore(_: Msg) -> None:
    """Stand in for the callback that nats-py wants; `_process_msg` calls the listener itself."""
