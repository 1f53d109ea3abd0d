"""The answer with server-sent events, as a server drives it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

import pytest
from litestar.background_tasks import BackgroundTask

from gateway.events.subscriptions import Shutdown
from gateway.http.event_stream import EventStream


class Server:
    """A server with one client."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.client_left = asyncio.Event()
        self.has_sent = asyncio.Event()

    async def receive(self) -> Any:
        await self.client_left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(message.get("body", b"<head>"))
        if not message.get("more_body", True):
            self.sent.append(b"<end>")
        self.has_sent.set()

    async def serve(self, frames: AsyncGenerator[bytes], keep_alive: float = 60) -> None:
        await EventStream(frames, keep_alive, background=BackgroundTask(self._after)).to_asgi_response()(
            {},  # pyright: ignore[reportArgumentType]  it is not looked at
            self.receive,
            self.send,
        )

    async def _after(self) -> None:
        self.sent.append(b"<after>")


@pytest.fixture
async def server() -> Server:
    return Server()


class Waiting:
    """Frames that never come, and take a moment to end."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.ended = False

    async def frames(self) -> AsyncGenerator[bytes]:
        try:
            self.started.set()
            await asyncio.Event().wait()
            yield b""
        finally:
            for _ in range(3):
                await asyncio.sleep(0)
            self.ended = True


async def test_frames_are_sent_as_they_come(server: Server) -> None:
    async def frames() -> AsyncGenerator[bytes]:
        yield b"one"
        yield b"two"

    await server.serve(frames())
    assert server.sent == [b"<head>", b": welcome\n\n", b"one", b"two", b"", b"<end>", b"<after>"]


async def test_a_stream_whose_client_leaves_ends_in_order(server: Server) -> None:
    waiting = Waiting()
    serving = asyncio.create_task(server.serve(waiting.frames()))
    await waiting.started.wait()
    server.client_left.set()
    await serving
    assert waiting.ended
    assert server.sent[-1] == b"<after>"


async def test_a_cancellation_from_outside_is_passed_on(server: Server) -> None:
    waiting = Waiting()
    serving = asyncio.create_task(server.serve(waiting.frames()))
    await waiting.started.wait()
    serving.cancel()
    with suppress(asyncio.CancelledError):
        await serving
    assert serving.cancelled()
    assert waiting.ended
    assert server.sent[-1] == b"<after>"


async def test_a_silent_stream_is_kept_alive_and_a_busy_one_needs_nothing(server: Server) -> None:
    is_requested = asyncio.Event()

    async def frames() -> AsyncGenerator[bytes]:
        await is_requested.wait()
        yield b"one"

    serving = asyncio.create_task(server.serve(frames(), 0.01))
    while server.sent.count(b": still here\n\n") < 2:
        server.has_sent.clear()
        await server.has_sent.wait()
    is_requested.set()
    await serving
    assert server.sent[:3] == [b"<head>", b": welcome\n\n", b": still here\n\n"]
    assert server.sent[-4:] == [b"one", b"", b"<end>", b"<after>"]


async def test_a_gateway_that_stops_ends_the_stream(server: Server) -> None:
    async def frames() -> AsyncGenerator[bytes]:
        yield b"one"
        raise Shutdown

    await server.serve(frames())
    assert server.sent[2:] == [b"one", b"", b"<end>", b"<after>"]


async def test_a_client_that_did_not_get_the_headers_gets_nothing_later(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[Any] = []

    async def broken(message: Any) -> None:
        tried.append(message)
        raise ConnectionError

    monkeypatch.setattr(server, "send", broken)
    with pytest.raises(ConnectionError):
        await server.serve(Waiting().frames(), 0)
    for _ in range(5):  # in which a timer of no seconds would have gone off
        await asyncio.sleep(0)
    assert len(tried) == 1
    assert server.sent == [b"<after>"]
