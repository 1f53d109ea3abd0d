"""A small HTTP/1.1 client on a bare asyncio protocol: the load generator shares its cores with what it measures.

httpx costs 0.5 ms of CPU a request, this about 0.02.
"""

import asyncio
from collections.abc import Callable, Generator
from time import perf_counter
from typing import Final, NamedTuple, Self, cast
from urllib.parse import urlsplit

END_OF_HEAD: Final = b"\r\n\r\n"
BODYLESS: Final = (204, 304)

Hear = Callable[[float, bytes], None]
"""Is told of each piece of a chunked body, and when it came."""


class Lost(ConnectionError):
    """The connection ended before the answer did."""


class Answer(NamedTuple):
    status: int
    body: bytes


class Address(NamedTuple):
    """Where a server listens, and what stands in front of its paths."""

    host: str
    port: int
    secure: bool = False
    named: str = ""
    """As the Host header has it."""
    path: str = ""

    @classmethod
    def of(cls, url: str) -> Self:
        """Raises `ValueError` for what is no http:// or https:// address."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url}: an address begins with http:// or https://")
        secure = parts.scheme == "https"
        named = parts.netloc.rpartition("@")[2]
        return cls(parts.hostname, parts.port or (443 if secure else 80), secure, named, parts.path.rstrip("/"))


class Connection(asyncio.Protocol):
    """One keep-alive connection, one request at a time."""

    def __init__(self) -> None:
        self.at = 0.0
        """When something last came."""
        self.closed = False
        self._buffer = bytearray()
        self._answer: asyncio.Future[Answer] | None = None
        self._hear: Hear | None = None
        self._lasting = True
        self._answers = self._read()
        next(self._answers)

    @classmethod
    async def open(cls, address: Address) -> Self:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(cls, address.host, address.port, ssl=address.secure or None)
        return connection

    def ask(self, request: bytes, hear: Hear | None = None) -> asyncio.Future[Answer]:
        """The answer, as a whole. Raises `Lost`."""
        answer = self._answer = asyncio.get_running_loop().create_future()
        self._hear = hear
        if self.closed:
            self._fail("the server closed the connection")
        else:
            self._transport.write(request)
        return answer

    def close(self) -> None:
        self.closed = True
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop has a class of its own

    def data_received(self, data: bytes) -> None:
        self.at = perf_counter()
        self._buffer += data
        try:
            next(self._answers)
        except ValueError:
            self.close()
            self._fail("what came is no HTTP")

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        next(self._answers, None)
        self._fail("the server closed the connection")

    def _read(self) -> Generator[None]:
        """Takes answers apart as they come; at each `yield` more has to come first, or the end of the connection."""
        while True:
            while (end := self._buffer.find(END_OF_HEAD)) < 0:
                yield
            head = self._cut(end + len(END_OF_HEAD)).lower()
            status = int(head[9:12])
            self._lasting = b"\r\nconnection: close" not in head and not head.startswith(b"http/1.0")
            body = b"" if status in BODYLESS else (yield from self._body(head))
            self._tell(Answer(status, body))

    def _body(self, head: bytes) -> Generator[None, None, bytes]:
        if (at := head.find(b"\r\ncontent-length:")) >= 0:
            size = int(head[at + 17 : head.index(b"\r", at + 17)])
            while len(self._buffer) < size:
                yield
            return self._cut(size)
        if b"\r\ntransfer-encoding: chunked" in head:
            return (yield from self._chunks())
        while not self.closed:
            yield
        return self._cut(len(self._buffer))

    def _chunks(self) -> Generator[None, None, bytes]:
        pieces: list[bytes] = []
        while True:
            while (end := self._buffer.find(b"\r\n")) < 0:
                yield
            size = int(self._buffer[:end].partition(b";")[0], 16)
            while len(self._buffer) < end + size + 4:
                yield
            piece = self._cut(end + size + 4)[end + 2 : -2]
            if not size:
                return b"".join(pieces)
            pieces.append(piece)
            if self._hear is not None:
                self._hear(self.at, piece)

    def _tell(self, answer: Answer) -> None:
        if not self._lasting:
            self.close()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(answer)

    def _fail(self, why: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(Lost(why))

    def _cut(self, size: int) -> bytes:
        if size == len(self._buffer):
            piece = bytes(self._buffer)
            self._buffer.clear()
            return piece
        piece = bytes(self._buffer[:size])
        del self._buffer[:size]
        return piece


def post(address: Address, path: str, body: bytes, token: str | None, *headers: str) -> bytes:
    lines = ["content-type: application/json", f"content-length: {len(body)}", *headers]
    return _head("POST", address, path, token, *lines) + body


def get(address: Address, path: str, token: str | None, *headers: str) -> bytes:
    return _head("GET", address, path, token, *headers)


def _head(method: str, address: Address, path: str, token: str | None, *headers: str) -> bytes:
    lines = [f"{method} {address.path}{path} HTTP/1.1", f"host: {address.named}"]
    lines += [f"authorization: Bearer {token}"] if token else []
    return "\r\n".join([*lines, *headers]).encode() + END_OF_HEAD
