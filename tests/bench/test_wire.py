"""The load generator's client, against servers that say what ours and others say."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from benchmarks.wire import Address, Answer, Connection, Lost, get, post

Say = Callable[[bytes, asyncio.StreamReader], Awaitable[list[bytes]]]
"""To a head and what follows it: the answer, in pieces. An empty piece ends the connection."""


@asynccontextmanager
async def connected(say: Say) -> AsyncGenerator[tuple[Address, Connection]]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            open = True
            while open and (head := await reader.readuntil(b"\r\n\r\n")):
                for piece in await say(head, reader):
                    open = bool(piece)
                    writer.write(piece)
                    await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    address = Address.of(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    connection = await Connection.open(address)
    try:
        yield address, connection
    finally:
        connection.close()
        server.close()


async def ours(head: bytes, reader: asyncio.StreamReader) -> list[bytes]:
    """Answers every POST with its body, and every GET with two chunks; all in small pieces."""
    if head.startswith(b"GET"):
        return [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r", b"\n1\r\na\r\n2\r\nb", b"c\r\n0\r\n\r\n"]
    body = await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
    return [b"HTTP/1.1 201 Created\r\nContent-Le", b"ngth: %d\r\n\r\n" % len(body), body]


def saying(*pieces: bytes) -> Say:
    async def say(head: bytes, reader: asyncio.StreamReader) -> list[bytes]:
        return list(pieces)

    return say


async def test_a_connection_serves_many_requests() -> None:
    async with connected(ours) as (address, connection):
        for number in range(3):
            body = b"%d" % number
            assert await connection.ask(post(address, "/", body, "token")) == Answer(201, body)
        assert await connection.ask(get(address, "/", "token")) == Answer(200, b"abc")
        assert await connection.ask(post(address, "/", b"last", "token")) == Answer(201, b"last")


async def test_pieces_are_heard_one_by_one() -> None:
    heard: list[tuple[float, bytes]] = []
    async with connected(ours) as (address, connection):
        await connection.ask(get(address, "/", None), lambda at, piece: heard.append((at, piece)))
        assert [piece for _, piece in heard] == [b"a", b"bc"]
        assert heard[0][0] <= heard[1][0] <= connection.at


@pytest.mark.parametrize(
    ("pieces", "answer"),
    [
        pytest.param(
            [b"HTTP/1.1 200 OK\r\nCONTENT-LENGTH:2\r\n\r\nok"], Answer(200, b"ok"), id="no space, in capitals"
        ),
        pytest.param([b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"], Answer(200, b""), id="nothing"),
        pytest.param([b"HTTP/1.1 204 No Content\r\n\r\n"], Answer(204, b""), id="no content"),
        pytest.param(
            [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;name=x\r\nok\r\n0\r\n\r\n"],
            Answer(200, b"ok"),
            id="an extended chunk",
        ),
        pytest.param(
            [b"HTTP/1.1 503 No\r\nX-Content-Length: 9\r\ncontent-length: 2\r\n\r\nno"], Answer(503, b"no"), id="503"
        ),
    ],
)
async def test_what_other_servers_say_is_understood(pieces: list[bytes], answer: Answer) -> None:
    async with connected(saying(*pieces)) as (address, connection):
        assert await connection.ask(get(address, "/", None)) == answer
        assert not connection.closed


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n", id="that says so"),
        pytest.param(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n", id="of HTTP/1.0"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n", id="that ends with its connection"),
    ],
)
async def test_an_answer_can_be_the_last_of_its_connection(head: bytes) -> None:
    async with connected(saying(head, b"ok", b"")) as (address, connection):
        assert await connection.ask(get(address, "/", None)) == Answer(200, b"ok")
        assert connection.closed


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([b""], id="before it begins"),
        pytest.param([b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", b""], id="in its middle"),
        pytest.param([b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n", b""], id="between chunks"),
        pytest.param([b"SSH-2.0-OpenSSH_9.2\r\n\r\n"], id="as it is no HTTP"),
    ],
)
async def test_an_answer_can_be_lost(pieces: list[bytes]) -> None:
    async with connected(saying(*pieces)) as (address, connection):
        with pytest.raises(Lost):
            await connection.ask(get(address, "/", None))
        with pytest.raises(Lost):
            await connection.ask(get(address, "/", None))


@pytest.mark.parametrize(
    ("url", "address"),
    [
        pytest.param("http://localhost", Address("localhost", 80, False, "localhost"), id="a name"),
        pytest.param("https://a.example/b/", Address("a.example", 443, True, "a.example", "/b"), id="a path, with TLS"),
        pytest.param("http://[::1]:8000", Address("::1", 8000, False, "[::1]:8000"), id="IPv6"),
    ],
)
def test_an_address_is_read_from_a_url(url: str, address: Address) -> None:
    assert Address.of(url) == address


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://a.example", "http://"])
def test_what_is_no_address_is_said(url: str) -> None:
    with pytest.raises(ValueError, match="begins with http"):
        Address.of(url)
