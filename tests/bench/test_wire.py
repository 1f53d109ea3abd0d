"""The load generator's client, against servers that answer as ours and others do."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from benchmarks.wire import Address, Connection, ConnectionLost, HttpAnswer, encode_get, encode_post

AnswerFunction = Callable[[bytes, asyncio.StreamReader], Awaitable[list[bytes]]]
"""Returns the answer to a head and its body in pieces; an empty piece ends the connection."""


@asynccontextmanager
async def connect(answer: AnswerFunction) -> AsyncGenerator[tuple[Address, Connection]]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            open = True
            while open and (head := await reader.readuntil(b"\r\n\r\n")):
                for piece in await answer(head, reader):
                    open = bool(piece)
                    writer.write(piece)
                    await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    address = Address.parse(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    connection = await Connection.open(address)
    try:
        yield address, connection
    finally:
        connection.close()
        server.close()


async def echo_body(head: bytes, reader: asyncio.StreamReader) -> list[bytes]:
    """Answer every POST with its body, and every GET with two chunks, all in small pieces."""
    if head.startswith(b"GET"):
        return [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r", b"\n1\r\na\r\n2\r\nb", b"c\r\n0\r\n\r\n"]
    body = await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
    return [b"HTTP/1.1 201 Created\r\nContent-Le", b"ngth: %d\r\n\r\n" % len(body), body]


def answer_with(*pieces: bytes) -> AnswerFunction:
    async def answer(head: bytes, reader: asyncio.StreamReader) -> list[bytes]:
        return list(pieces)

    return answer


async def test_a_connection_serves_many_requests() -> None:
    async with connect(echo_body) as (address, connection):
        for number in range(3):
            body = b"%d" % number
            assert await connection.ask(encode_post(address, "/", body, "token")) == HttpAnswer(201, body)
        assert await connection.ask(encode_get(address, "/", "token")) == HttpAnswer(200, b"abc")
        assert await connection.ask(encode_post(address, "/", b"last", "token")) == HttpAnswer(201, b"last")


async def test_chunks_are_passed_on_one_by_one() -> None:
    chunks: list[tuple[float, bytes]] = []
    async with connect(echo_body) as (address, connection):
        await connection.ask(encode_get(address, "/", None), lambda at, piece: chunks.append((at, piece)))
        assert [piece for _, piece in chunks] == [b"a", b"bc"]
        assert chunks[0][0] <= chunks[1][0] <= connection.at


@pytest.mark.parametrize(
    ("pieces", "answer"),
    [
        pytest.param(
            [b"HTTP/1.1 200 OK\r\nCONTENT-LENGTH:2\r\n\r\nok"], HttpAnswer(200, b"ok"), id="no space, in capitals"
        ),
        pytest.param([b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"], HttpAnswer(200, b""), id="nothing"),
        pytest.param([b"HTTP/1.1 204 No Content\r\n\r\n"], HttpAnswer(204, b""), id="no content"),
        pytest.param(
            [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;name=x\r\nok\r\n0\r\n\r\n"],
            HttpAnswer(200, b"ok"),
            id="an extended chunk",
        ),
        pytest.param(
            [b"HTTP/1.1 503 No\r\nX-Content-Length: 9\r\ncontent-length: 2\r\n\r\nno"], HttpAnswer(503, b"no"), id="503"
        ),
    ],
)
async def test_answers_of_other_servers_are_parsed(pieces: list[bytes], answer: HttpAnswer) -> None:
    async with connect(answer_with(*pieces)) as (address, connection):
        assert await connection.ask(encode_get(address, "/", None)) == answer
        assert not connection.closed


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n", id="that says so"),
        pytest.param(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n", id="of HTTP/1.0"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n", id="that ends with its connection"),
    ],
)
async def test_a_server_can_close_the_connection_after_an_answer(head: bytes) -> None:
    async with connect(answer_with(head, b"ok", b"")) as (address, connection):
        assert await connection.ask(encode_get(address, "/", None)) == HttpAnswer(200, b"ok")
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
async def test_a_broken_answer_is_a_lost_connection(pieces: list[bytes]) -> None:
    async with connect(answer_with(*pieces)) as (address, connection):
        with pytest.raises(ConnectionLost):
            await connection.ask(encode_get(address, "/", None))
        with pytest.raises(ConnectionLost):
            await connection.ask(encode_get(address, "/", None))


@pytest.mark.parametrize(
    ("url", "address"),
    [
        pytest.param("http://localhost", Address("localhost", 80, False, "localhost"), id="a name"),
        pytest.param("https://a.example/b/", Address("a.example", 443, True, "a.example", "/b"), id="a path, with TLS"),
        pytest.param("http://[::1]:8000", Address("::1", 8000, False, "[::1]:8000"), id="IPv6"),
    ],
)
def test_an_address_is_read_from_a_url(url: str, address: Address) -> None:
    assert Address.parse(url) == address


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://a.example", "http://"])
def test_an_invalid_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="begins with http"):
        Address.parse(url)
