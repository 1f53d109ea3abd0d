"""Responses that stream server-sent events."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

from litestar.background_tasks import BackgroundTask
from litestar.response import Stream
from litestar.types import ASGIApp, Receive, Scope, Send

from gateway import metrics
from gateway.events import sse
from gateway.events.subscriptions import Shutdown

RESPONSE_START: Final[Any] = {
    "type": "http.response.start",
    "status": 200,
    "headers": [
        (b"content-type", b"text/event-stream; charset=utf-8"),
        (b"cache-control", b"no-store"),
        (b"x-accel-buffering", b"no"),
    ],
}
RESPONSE_END: Final[Any] = {"type": "http.response.body", "body": b"", "more_body": False}


class EventStream(Stream):
    """A response that streams server-sent events: one write per frame, and a comment after `keep_alive` silent seconds.

    It ends with the frames, when the client leaves, and when the gateway stops; `background` runs then. litestar's own
    stream takes two tasks for each, and one more for each frame if silence is to be noticed.
    """

    def __init__(
        self, frames: AsyncGenerator[bytes], keep_alive: float, *, background: BackgroundTask | None = None
    ) -> None:
        super().__init__(frames, media_type="text/event-stream", background=background)
        self._frames = frames
        self._keep_alive = keep_alive

    def to_asgi_response(self, *_: Any, **__: Any) -> ASGIApp:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the function that sends the stream."""
        return self._send

    async def _send(self, _: Scope, receive: Receive, send: Send) -> None:
        metrics.OPEN_STREAMS.inc()
        client = _Client(receive, send, self._keep_alive)
        try:
            async with aclosing(self._frames):
                await send(RESPONSE_START)
                await client.write(sse.WELCOME)
                await client.send_frames(self._frames)
            await send(RESPONSE_END)
        finally:
            metrics.OPEN_STREAMS.dec()
            if self.background is not None:
                await self.background()


class _Client:
    """The client that reads a stream, for as long as it is connected."""

    def __init__(self, receive: Receive, send: Send, keep_alive: float) -> None:
        self._receive = receive
        self._send = send
        self._keep_alive_seconds = keep_alive
        self._loop = asyncio.get_running_loop()
        self._last_write = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._comment: asyncio.Task[None] | None = None
        self._task: asyncio.Task[Any] | None = None
        self._is_gone = False

    async def write(self, data: bytes) -> None:
        self._last_write = self._loop.time()
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def send_frames(self, frames: AsyncGenerator[bytes]) -> None:
        """Send the frames until they end or the client leaves; a cancellation by anyone else is passed on."""
        self._task = asyncio.current_task()
        leaving = self._loop.create_task(self._wait_for_disconnect())
        self._keep_alive_if_silent()
        try:
            async for frame in frames:
                await self.write(frame)
        except Shutdown:
            pass  # the client comes back with the id of its last event
        except asyncio.CancelledError:
            if not self._is_gone or (self._task is not None and self._task.uncancel()):
                raise
        finally:
            self._task = None
            for each in (leaving, self._timer, self._comment):
                if each is not None:
                    each.cancel()

    async def _wait_for_disconnect(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if self._task is not None:
            self._is_gone = True
            self._task.cancel()

    def _keep_alive_if_silent(self) -> None:
        """Send a comment after a silence; a client that does not read what it has gets no second one."""
        now = self._loop.time()
        if now - self._last_write >= self._keep_alive_seconds:
            self._last_write = now
            if self._comment is None or self._comment.done():
                self._comment = self._loop.create_task(self.write(sse.KEEP_ALIVE))
        self._timer = self._loop.call_at(self._last_write + self._keep_alive_seconds, self._keep_alive_if_silent)
