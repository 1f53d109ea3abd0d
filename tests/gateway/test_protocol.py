"""Answers as packets: what uvicorn writes in two pieces goes out in one."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from gateway.http.uvicorn_protocol import Protocol, Whole
from tests.gateway.receiver import running

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n"


class Wire(asyncio.Transport):
    """Keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[bytes] = []

    def write(self, data: Any) -> None:
        self.said.append(data)

    def close(self) -> None:
        self.said.append(b"<closed>")

    def is_closing(self) -> bool:
        return self.said[-1:] == [b"<closed>"]


@pytest.fixture
async def whole() -> tuple[Whole, Wire]:
    wire = Wire()
    return Whole(wire, asyncio.get_running_loop()), wire


async def test_a_head_and_its_body_are_one_write(whole: tuple[Whole, Wire]):
    transport, wire = whole
    transport.write(HEAD)
    assert wire.said == []
    transport.write(b"tea")
    await asyncio.sleep(0)
    assert wire.said == [HEAD + b"tea"]


async def test_a_head_that_nothing_follows_goes_out_by_itself(whole: tuple[Whole, Wire]):
    transport, wire = whole
    transport.write(HEAD)
    await asyncio.sleep(0)
    assert wire.said == [HEAD]
    transport.write(b"tea")
    assert wire.said == [HEAD, b"tea"]


async def test_a_head_goes_out_before_the_connection_is_closed(whole: tuple[Whole, Wire]):
    transport, wire = whole
    transport.write(HEAD)
    transport.close()
    assert wire.said == [HEAD, b"<closed>"]
    assert transport.is_closing()


App = Callable[[Any, Any, Any], Awaitable[None]]


@asynccontextmanager
async def served(app: App) -> AsyncGenerator[int]:
    config = uvicorn.Config(app, port=0, http=Protocol, lifespan="off", ws="none", log_config=None)
    async with running(config) as server:
        yield server.servers[0].sockets[0].getsockname()[1]


async def test_a_stream_begins_before_its_first_piece_and_connections_are_kept():
    go_on = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"3")]})
        if scope["path"] == "/slow":
            await go_on.wait()
        await send({"type": "http.response.body", "body": b"tea"})

    async with served(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for path in ("quick", "slow", "quick"):
            writer.write(f"GET /{path} HTTP/1.1\r\nhost: here\r\n\r\n".encode())
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")
            if path == "slow":
                go_on.set()
            assert await reader.readexactly(3) == b"tea"
        writer.close()
        await writer.wait_closed()
