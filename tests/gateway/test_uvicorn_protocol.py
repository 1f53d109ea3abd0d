"""Responses on the wire: what uvicorn writes in two pieces goes out in one."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from gateway.http.uvicorn_protocol import CoalescingProtocol, CoalescingTransport
from tests.gateway.receiver import running

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n"


class RecordingTransport(asyncio.Transport):
    """A transport that records what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: Any) -> None:
        self.written.append(data)

    def close(self) -> None:
        self.written.append(b"<closed>")

    def is_closing(self) -> bool:
        return self.written[-1:] == [b"<closed>"]


@pytest.fixture
async def coalescing() -> tuple[CoalescingTransport, RecordingTransport]:
    wire = RecordingTransport()
    return CoalescingTransport(wire, asyncio.get_running_loop()), wire


async def test_a_head_and_its_body_are_one_write(coalescing: tuple[CoalescingTransport, RecordingTransport]):
    transport, wire = coalescing
    transport.write(HEAD)
    assert wire.written == []
    transport.write(b"tea")
    await asyncio.sleep(0)
    assert wire.written == [HEAD + b"tea"]


async def test_a_head_that_nothing_follows_is_written_alone(coalescing: tuple[CoalescingTransport, RecordingTransport]):
    transport, wire = coalescing
    transport.write(HEAD)
    await asyncio.sleep(0)
    assert wire.written == [HEAD]
    transport.write(b"tea")
    assert wire.written == [HEAD, b"tea"]


async def test_a_head_is_written_before_the_connection_is_closed(
    coalescing: tuple[CoalescingTransport, RecordingTransport],
):
    transport, wire = coalescing
    transport.write(HEAD)
    transport.close()
    assert wire.written == [HEAD, b"<closed>"]
    assert transport.is_closing()


App = Callable[[Any, Any, Any], Awaitable[None]]


@asynccontextmanager
async def serve(app: App) -> AsyncGenerator[int]:
    config = uvicorn.Config(app, port=0, http=CoalescingProtocol, lifespan="off", ws="none", log_config=None)
    async with running(config) as server:
        yield server.servers[0].sockets[0].getsockname()[1]


async def test_a_stream_begins_before_its_first_piece_and_connections_are_kept():
    go_on = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"3")]})
        if scope["path"] == "/slow":
            await go_on.wait()
        await send({"type": "http.response.body", "body": b"tea"})

    async with serve(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for path in ("quick", "slow", "quick"):
            writer.write(f"GET /{path} HTTP/1.1\r\nhost: here\r\n\r\n".encode())
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")
            if path == "slow":
                go_on.set()
            assert await reader.readexactly(3) == b"tea"
        writer.close()
        await writer.wait_closed()
