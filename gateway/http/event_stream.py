"""Server-sent events as an answer."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

from litestar.background_tasks import BackgroundTask
from litestar.response import Stream
from litestar.types import ASGIApp, Receive, Scope, Send

from gateway import metrics
from gateway.events import sse
from gateway.events.subscriptions import Closing

START: Final[Any] = {
    "type": "http.response.start",
    "status": 200,
    "headers": [
        (b"content-type", b"text/event-stream; charset=utf-8"),
        (b"cache-control", b"no-store"),
        (b"x-accel-buffering", b"no"),
    ],
}
END: Final[Any] = {"type": "http.response.body", "body": b"", "more_body": False}


class Events(Stream):
    """One write per frame, and a comment when there was none for `keep_alive` seconds; `background` is done at the end.

    It ends with the frames, when the client leaves, and when the gateway stops. The framework's own stream takes two
    tasks for each, and one more for each frame if silence is to be noticed.
    """

    def __init__(
        self, frames: AsyncGenerator[bytes], keep_alive: float, *, background: BackgroundTask | None = None
    ) -> None:
        super().__init__(frames, media_type="text/event-stream", background=background)
        self._frames = frames
        self._keep_alive = keep_alive

    def to_asgi_response(self, *_: Any, **__: Any) -> ASGIApp:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self._send

    async def _send(self, _: Scope, receive: Receive, send: Send) -> None:
        metrics.STREAMS.inc()
        client = _Client(receive, send, self._keep_alive)
        try:
            async with aclosing(self._frames):
                await send(START)
                await client.told(sse.OPENING)
                await client.follow(self._frames)
            await send(END)
        finally:
            metrics.STREAMS.dec()
            if self.background is not None:
                await self.background()


class _Client:
    """Whoever reads the answer, for as long as they do."""

    def __init__(self, receive: Receive, send: Send, keep_alive: float) -> None:
        self._receive = receive
        self._send = send
        self._keep_alive = keep_alive
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._comment: asyncio.Task[None] | None = None
        self._following: asyncio.Task[Any] | None = None
        self._left = False

    async def told(self, data: bytes) -> None:
        self._last = self._loop.time()
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def follow(self, frames: AsyncGenerator[bytes]) -> None:
        """Returns when they are over, or when the client has left; cancelled by others, it passes that on."""
        self._following = asyncio.current_task()
        leaving = self._loop.create_task(self._gone())
        self._look()
        try:
            async for frame in frames:
                await self.told(frame)
        except Closing:
            pass  # the client comes back with the id of its last event
        except asyncio.CancelledError:
            if not self._left or (self._following is not None and self._following.uncancel()):
                raise
        finally:
            self._following = None
            for each in (leaving, self._timer, self._comment):
                if each is not None:
                    each.cancel()

    async def _gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if self._following is not None:
            self._left = True
            self._following.cancel()

    def _look(self) -> None:
        """Say something if nothing was said for so long; a client that does not read is told nothing more."""
        now = self._loop.time()
        if now - self._last >= self._keep_alive:
            self._last = now
            if self._comment is None or self._comment.done():
                self._comment = self._loop.create_task(self.told(sse.KEEP_ALIVE))
        self._timer = self._loop.call_at(self._last + self._keep_alive, self._look)
