"""The load generator's client, against a server that says what ours says."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress

import pytest

from benchmarks import wire
from benchmarks.wire import Answer, Connection


@pytest.fixture
async def url() -> AsyncGenerator[str]:
    """Answers every POST with its body, and every GET with three chunks; all in small pieces."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                for piece in await answer(head, reader):
                    writer.write(piece)
                    await writer.drain()
        writer.close()

    async def answer(head: bytes, reader: asyncio.StreamReader) -> list[bytes]:
        if head.startswith(b"GET"):
            return [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r", b"\n1\r\na\r\n2\r\nb", b"c\r\n0\r\n\r\n"]
        body = await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
        return [b"HTTP/1.1 201 Created\r\nContent-Le", b"ngth: %d\r\n\r\n" % len(body), body]

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


async def test_a_connection_serves_many_requests(url: str) -> None:
    connection = await Connection.open(url)
    for number in range(3):
        body = b"%d" % number
        assert await connection.ask(wire.post(url, "/", body, "token")) == Answer(201, body)
    assert [piece async for piece in connection.follow(wire.get(url, "/", "token"))] == [b"a", b"bc"]
    assert await connection.ask(wire.post(url, "/", b"last", "token")) == Answer(201, b"last")
    connection.close()
