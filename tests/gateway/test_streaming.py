"""Server-sent events as the server drives them."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

import pytest
from litestar.background_tasks import BackgroundTask

from gateway.events.subscriptions import Closing
from gateway.http.event_stream import Events


class Server:
    """One client, as the server has it."""

    def __init__(self) -> None:
        self.said: list[bytes] = []
        self.left = asyncio.Event()
        self.heard = asyncio.Event()

    async def receive(self) -> Any:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.said.append(message.get("body", b"<head>"))
        if not message.get("more_body", True):
            self.said.append(b"<end>")
        self.heard.set()

    async def serve(self, frames: AsyncGenerator[bytes], keep_alive: float = 60) -> None:
        await Events(frames, keep_alive, background=BackgroundTask(self._after)).to_asgi_response()(
            {},  # pyright: ignore[reportArgumentType]  it is not looked at
            self.receive,
            self.send,
        )

    async def _after(self) -> None:
        self.said.append(b"<after>")


@pytest.fixture
async def server() -> Server:
    return Server()


class Waiting:
    """Frames that never come; what takes a moment to end is waited for."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.ended = False

    async def frames(self) -> AsyncGenerator[bytes]:
        try:
            self.begun.set()
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
    assert server.said == [b"<head>", b": welcome\n\n", b"one", b"two", b"", b"<end>", b"<after>"]


async def test_a_stream_that_is_left_ends_in_order(server: Server) -> None:
    waiting = Waiting()
    serving = asyncio.create_task(server.serve(waiting.frames()))
    await waiting.begun.wait()
    server.left.set()
    await serving
    assert waiting.ended
    assert server.said[-1] == b"<after>"


async def test_whoever_cancels_it_is_told(server: Server) -> None:
    waiting = Waiting()
    serving = asyncio.create_task(server.serve(waiting.frames()))
    await waiting.begun.wait()
    serving.cancel()
    with suppress(asyncio.CancelledError):
        await serving
    assert serving.cancelled()
    assert waiting.ended
    assert server.said[-1] == b"<after>"


async def test_silence_is_broken_and_speech_is_not(server: Server) -> None:
    asked = asyncio.Event()

    async def frames() -> AsyncGenerator[bytes]:
        await asked.wait()
        yield b"one"

    serving = asyncio.create_task(server.serve(frames(), 0.01))
    while server.said.count(b": still here\n\n") < 2:
        server.heard.clear()
        await server.heard.wait()
    asked.set()
    await serving
    assert server.said[:3] == [b"<head>", b": welcome\n\n", b": still here\n\n"]
    assert server.said[-4:] == [b"one", b"", b"<end>", b"<after>"]


async def test_a_gateway_that_stops_ends_it(server: Server) -> None:
    async def frames() -> AsyncGenerator[bytes]:
        yield b"one"
        raise Closing

    await server.serve(frames())
    assert server.said[2:] == [b"one", b"", b"<end>", b"<after>"]


async def test_a_client_that_could_not_be_told_the_head_is_told_nothing_later(
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
    assert server.said == [b"<after>"]
