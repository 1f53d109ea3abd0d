"""Serve the gateway until it is told to stop."""

import asyncio
from contextlib import suppress
from socket import socket
from types import FrameType

import uvicorn
from litestar import Litestar

from gateway.app import create_app
from gateway.http.middleware import Edge
from gateway.http.uvicorn_protocol import Protocol
from gateway.settings import Settings


class PartFailed(Exception):
    """A part of the gateway failed; the log says which. Start it again."""


async def serve(settings: Settings, sockets: list[socket]) -> None:
    """Raises `PartFailed`."""
    served = server(settings)
    await served.serve(sockets)
    if served.failed:
        raise PartFailed(PartFailed.__doc__)


def server(settings: Settings) -> "Server":
    """With SIGTERM and SIGINT it stops taking requests, and ends those that are open."""
    app = create_app(settings, lambda: made.fail())
    config = uvicorn.Config(
        Edge(app),
        host=settings.host,
        port=settings.port,
        loop="none",
        http=Protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # read where URLs are made
        timeout_graceful_shutdown=3,
        timeout_keep_alive=75,
    )
    made = Server(config, app)
    return made


class Server(uvicorn.Server):
    """Held creates are answered before the end, as if their wait had run out; streams are ended, to be resumed."""

    def __init__(self, config: uvicorn.Config, app: Litestar) -> None:
        super().__init__(config)
        self._app = app
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = asyncio.Event()
        self.failed = False

    def fail(self) -> None:
        self.failed = True
        self.stop()

    def stop(self) -> None:
        """At once; whoever only sets `should_exit` waits up to a second."""
        self.should_exit = True
        self._woken.set()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        if self._loop is not None:  # a signal is heard between any two steps of the loop, or while it sleeps
            self._loop.call_soon_threadsafe(self._woken.set)

    async def main_loop(self) -> None:
        """Once a second, for the date that answers carry: uvicorn itself looks ten times whether it is to stop."""
        self._loop = asyncio.get_running_loop()
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._woken.wait()

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        self._app.state.parts.live.close()
        await super().shutdown(sockets)
