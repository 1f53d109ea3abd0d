"""A small HTTP/1.1 client on a bare asyncio protocol: the load generator shares its cores with what it measures.

httpx costs 0.5 ms of CPU a request, this about 0.03. It knows what our gateway sends, and no more.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple, Self, cast
from urllib.parse import urlsplit

END_OF_HEAD = b"\r\n\r\n"


class Answer(NamedTuple):
    status: int
    body: bytes


class Connection(asyncio.Protocol):
    """One keep-alive connection, one request at a time."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._closed = False
        self._news: asyncio.Future[None] | None = None

    @classmethod
    async def open(cls, url: str) -> Self:
        parts = urlsplit(url)
        assert parts.hostname
        assert parts.port
        _, connection = await asyncio.get_running_loop().create_connection(cls, parts.hostname, parts.port)
        return connection

    async def ask(self, request: bytes) -> Answer:
        self._transport.write(request)
        head = await self._head()
        return Answer(int(head[9:12]), await self._take(_length(head)))

    async def follow(self, request: bytes) -> AsyncIterator[bytes]:
        """A chunked body, piece by piece as it comes."""
        self._transport.write(request)
        head = await self._head()
        assert head[9:12] == b"200", bytes(head)
        while size := int(await self._line(), 16):
            yield await self._take(size)
            await self._line()
        await self._line()

    def close(self) -> None:
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop has a class of its own

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._tell()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed = True
        self._tell()

    def _tell(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    async def _more(self) -> None:
        if self._closed:
            raise ConnectionResetError("the gateway closed the connection")
        self._news = asyncio.get_running_loop().create_future()
        await self._news

    async def _head(self) -> bytes:
        while (end := self._buffer.find(END_OF_HEAD)) < 0:
            await self._more()
        return self._cut(end + len(END_OF_HEAD))

    async def _line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            await self._more()
        return self._cut(end + 2)[:-2]

    async def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            await self._more()
        return self._cut(size)

    def _cut(self, size: int) -> bytes:
        piece = bytes(self._buffer[:size])
        del self._buffer[:size]
        return piece


def post(url: str, path: str, body: bytes, token: str, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", f"host: {urlsplit(url).netloc}", f"authorization: Bearer {token}"]
    lines += ["content-type: application/json", f"content-length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + END_OF_HEAD + body


def get(url: str, path: str, token: str, *headers: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", f"host: {urlsplit(url).netloc}", f"authorization: Bearer {token}", *headers]
    return "\r\n".join(lines).encode() + END_OF_HEAD


def _length(head: bytes) -> int:
    low = head.lower()
    start = low.index(b"content-length:") + 15
    return int(low[start : low.index(b"\r\n", start)])
