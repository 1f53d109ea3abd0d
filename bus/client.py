"""nats-py's client, with a shorter way through it for the messages of every prediction.

Its own way costs a queue, a task and a dictionary of headers per message that is heard, and a flush of its own, with a
future, per message that is said: together 40 µs of a prediction's time in a gateway. It reaches into the class that it
extends, so the version of nats-py is bound, and `tests/bus` tries each of the ways against a real server.
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

SLOW: Final = 1 << 20  # bytes on their way out, from which who publishes waits for the server to read
VERSION: Final = b"NATS/1.0"
STATUS: Final = slice(len(VERSION) + 1, len(VERSION) + 4)
NO_RESPONDERS: Final = 503


class NoAnswer(Exception):
    """Nobody answered in time, or the connection broke meanwhile."""


class NoResponders(NoAnswer):
    """Nobody listens there."""


class Heard:
    """A message; its headers are read when somebody asks for them."""

    __slots__ = ("_head", "data", "reply", "subject")

    def __init__(self, subject: str, reply: str, data: bytes, head: bytes | None) -> None:
        self.subject = subject
        self.reply = reply
        self.data = data
        self._head = head

    @property
    def status(self) -> int | None:
        """That the server itself says instead of a message."""
        head = self._head
        return int(head[STATUS]) if head is not None and head[len(VERSION) : len(VERSION) + 1] == b" " else None

    @property
    def reason(self) -> str:
        """Why, in the server's words."""
        return self._head[STATUS.stop : self._head.index(b"\r\n")].decode().strip() if self._head is not None else ""

    @property
    def headers(self) -> dict[str, str]:
        return NatsClient._parse_header_lines(self._head.partition(b"\r\n")[2]) if self._head else {}

    @property
    def delivered(self) -> int:
        """How often JetStream has delivered it, this time included."""
        return int(self._token(4))

    @property
    def pending(self) -> int:
        """How many JetStream has behind it for the same consumer."""
        return int(self._token(8))

    def _token(self, place: int) -> str:
        """Of $JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.<consumer's>.<time>.<pending>.

        It may have a domain and an account in the third and fourth place.
        """
        tokens = self.reply.split(".")
        return tokens[place if len(tokens) < 11 else place + 2]


class Client(NatsClient):
    """`hear` and `ask` take the short way; all else is nats-py's."""

    def __init__(self) -> None:
        super().__init__()
        self._hearing: dict[int, Callable[[Heard], None]] = {}
        self._asked: dict[str, asyncio.Future[Heard]] = {}
        self._numbers = itertools.count()
        self._answers = ""
        self._flushing: asyncio.Handle | None = None

    async def hear(self, subject: str, heard: Callable[[Heard], None], *, queue: str = "") -> Subscription:
        """`heard` is called as soon as a message is read, in their order, and must be quick.

        What it raises goes to the connection's `error_cb`.
        """
        subscription = await self.subscribe(subject, queue=queue, cb=_nobody)
        self._hearing[subscription._id] = heard  # nothing can have come yet: the server hears of it with the next flush
        return subscription

    async def ask(
        self, subject: str, payload: bytes = b"", headers: Mapping[str, str] | None = None, *, within: float
    ) -> Heard:
        """The one answer to a message. Raises `NoAnswer`, after so many seconds or when told to `give_up`."""
        if not self._answers:
            self._answers = self.new_inbox()
            await self.hear(f"{self._answers}.*", self._answered)
        reply = f"{self._answers}.{next(self._numbers)}"
        loop = asyncio.get_running_loop()
        self._asked[reply] = answer = loop.create_future()
        timer = loop.call_later(within, _give_up, answer)
        try:
            await self.publish(subject, payload, reply, headers)
            return await answer
        finally:
            timer.cancel()
            del self._asked[reply]

    def give_up(self) -> None:
        """Whoever waits for an answer gets none: the connection that it should come by is gone."""
        for answer in self._asked.values():
            _give_up(answer)

    async def publish(  # pyright: ignore[reportIncompatibleMethodOverride]  any mapping will do
        self, subject: str, payload: bytes = b"", reply: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """Sent with all else that is said in this turn of the event loop."""
        if self._free:
            self.put(subject, payload, reply, headers)
        else:
            await super().publish(subject, payload, reply, dict(headers) if headers else None)

    def put(
        self, subject: str, payload: bytes = b"", reply: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """The same for who cannot wait: while the connection is away, it is kept until it is back."""
        if len(payload) > self._max_payload:
            raise MaxPayloadError
        if not subject or " " in subject:
            raise BadSubjectError
        command = _command(subject, payload, reply, headers)
        self._pending.append(command)
        self._pending_data_size += len(command)
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().call_soon(self._flush_now)

    @property
    def _free(self) -> bool:
        """The server keeps up, and nothing has to be waited for."""
        writer = getattr(self._transport, "_io_writer", None)
        return self.is_connected and writer is not None and writer.transport.get_write_buffer_size() < SLOW

    def _flush_now(self) -> None:
        self._flushing = None
        if self._pending and self.is_connected and self._transport is not None:
            pending, self._pending, self._pending_data_size = self._pending, [], 0
            self._transport.writelines(pending)

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: Any) -> None:
        heard = self._hearing.get(sid)
        if heard is None:
            await super()._process_msg(sid, subject, reply, data, headers)
            return
        try:
            heard(Heard(subject.decode(), reply.decode(), data, headers))
        except Exception as error:  # noqa: BLE001  one message must not end the connection
            await self._error_cb(error)

    def _remove_sub(self, sid: int, max_msgs: int = 0) -> None:
        self._hearing.pop(sid, None)
        super()._remove_sub(sid, max_msgs)

    def _answered(self, message: Heard) -> None:
        answer = self._asked.get(message.subject)
        if answer is None or answer.done():
            return
        if message.status == NO_RESPONDERS:
            answer.set_exception(NoResponders(NoResponders.__doc__))
        else:
            answer.set_result(message)


def _command(subject: str, payload: bytes, reply: str, headers: Mapping[str, str] | None) -> bytes:
    to = f"{subject} {reply}" if reply else subject
    if not headers:
        return b"PUB %b %d\r\n%b\r\n" % (to.encode(), len(payload), payload)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = b"%b\r\n%b\r\n" % (VERSION, lines.encode())
    return b"HPUB %b %d %d\r\n%b%b\r\n" % (to.encode(), len(head), len(head) + len(payload), head, payload)


def _give_up(answer: asyncio.Future[Heard]) -> None:
    if not answer.done():
        answer.set_exception(NoAnswer("no answer from NATS"))


async def _nobody(_: Msg) -> None:
    """Is told this way."""
