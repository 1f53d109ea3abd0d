"""A small HTTP/1.1 client on a bare asyncio protocol.

The load generator shares its cores with what it measures: httpx costs 0.5 ms of CPU a request, this about 0.02.
"""

import asyncio
from collections.abc import Callable, Generator
from time import perf_counter
from typing import Final, NamedTuple, Self, cast
from urllib.parse import urlsplit

END_OF_HEAD: Final = b"\r\n\r\n"
STATUSES_WITHOUT_BODY: Final = (204, 304)

ChunkHandler = Callable[[float, bytes], None]
"""Called with each chunk of a body, and with the time at which it came."""


class ConnectionLost(ConnectionError):
    """The connection ended before the answer did."""


class HttpAnswer(NamedTuple):
    """The status and the body of an answer."""

    status: int
    body: bytes


class Address(NamedTuple):
    """The address of a server, and the prefix of its paths."""

    host: str
    port: int
    secure: bool = False
    host_header: str = ""
    """The value of the Host header."""
    path: str = ""

    @classmethod
    def parse(cls, url: str) -> Self:
        """Parse a URL.

        Raises `ValueError` for one that does not begin with http:// or https://.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url}: use an address that begins with http:// or https://")
        secure = parts.scheme == "https"
        host_header = parts.netloc.rpartition("@")[2]
        return cls(parts.hostname, parts.port or (443 if secure else 80), secure, host_header, parts.path.rstrip("/"))


class Connection(asyncio.Protocol):
    """A keep-alive connection that carries one request at a time.

    Clients open it, send a request with `ask`, and await the future that it returns.
    """

    def __init__(self) -> None:
        self.at = 0.0
        """When data last arrived."""
        self.closed = False
        self._buffer = bytearray()
        self._answer: asyncio.Future[HttpAnswer] | None = None
        self._on_chunk: ChunkHandler | None = None
        self._keep_alive = True
        self._answers = self._read()
        next(self._answers)

    @classmethod
    async def open(cls, address: Address) -> Self:
        """Connect to an address."""
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(cls, address.host, address.port, ssl=address.secure or None)
        return connection

    def ask(self, request: bytes, on_chunk: ChunkHandler | None = None) -> asyncio.Future[HttpAnswer]:
        """Send a request, and return the future of its whole answer.

        The future raises `ConnectionLost`.
        """
        answer = self._answer = asyncio.get_running_loop().create_future()
        self._on_chunk = on_chunk
        if self.closed:
            self._fail("the server closed the connection")
        else:
            self._transport.write(request)
        return answer

    def close(self) -> None:
        """Close the connection."""
        self.closed = True
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's class is another one

    def data_received(self, data: bytes) -> None:
        self.at = perf_counter()
        self._buffer += data
        try:
            next(self._answers)
        except ValueError:
            self.close()
            self._fail("the server does not speak HTTP")

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        next(self._answers, None)
        self._fail("the server closed the connection")

    def _read(self) -> Generator[None]:
        """Parse answers as they arrive.

        At each `yield` it needs more data, or the end of the connection.
        """
        while True:
            while (end := self._buffer.find(END_OF_HEAD)) < 0:
                yield
            head = self._take(end + len(END_OF_HEAD)).lower()
            status = int(head[9:12])
            self._keep_alive = b"\r\nconnection: close" not in head and not head.startswith(b"http/1.0")
            body = b"" if status in STATUSES_WITHOUT_BODY else (yield from self._body(head))
            self._finish(HttpAnswer(status, body))

    def _body(self, head: bytes) -> Generator[None, None, bytes]:
        if (at := head.find(b"\r\ncontent-length:")) >= 0:
            size = int(head[at + 17 : head.index(b"\r", at + 17)])
            while len(self._buffer) < size:
                yield
            return self._take(size)
        if b"\r\ntransfer-encoding: chunked" in head:
            return (yield from self._chunks())
        while not self.closed:
            yield
        return self._take(len(self._buffer))

    def _chunks(self) -> Generator[None, None, bytes]:
        pieces: list[bytes] = []
        while True:
            while (end := self._buffer.find(b"\r\n")) < 0:
                yield
            size = int(self._buffer[:end].partition(b";")[0], 16)
            while len(self._buffer) < end + size + 4:
                yield
            piece = self._take(end + size + 4)[end + 2 : -2]
            if not size:
                return b"".join(pieces)
            pieces.append(piece)
            if self._on_chunk is not None:
                self._on_chunk(self.at, piece)

    def _finish(self, answer: HttpAnswer) -> None:
        if not self._keep_alive:
            self.close()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(answer)

    def _fail(self, reason: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionLost(reason))

    def _take(self, size: int) -> bytes:
        if size == len(self._buffer):
            piece = bytes(self._buffer)
            self._buffer.clear()
            return piece
        piece = bytes(self._buffer[:size])
        del self._buffer[:size]
        return piece


def encode_post(address: Address, path: str, body: bytes, token: str | None, *headers: str) -> bytes:
    """Return the bytes of a POST request."""
    lines = ["content-type: application/json", f"content-length: {len(body)}", *headers]
    return _head("POST", address, path, token, *lines) + body


def encode_get(address: Address, path: str, token: str | None, *headers: str) -> bytes:
    """Return the bytes of a GET request."""
    return _head("GET", address, path, token, *headers)


def _head(method: str, address: Address, path: str, token: str | None, *headers: str) -> bytes:
    lines = [f"{method} {address.path}{path} HTTP/1.1", f"host: {address.host_header}"]
    lines += [f"authorization: Bearer {token}"] if token else []
    return "\r\n".join([*lines, *headers]).encode() + END_OF_HEAD
