"""The gateway's server process."""

import asyncio
from contextlib import suppress
from socket import socket
from types import FrameType

import uvicorn
from litestar import Litestar

from gateway.app import create_app
from gateway.http.middleware import RequestNormalizer
from gateway.http.uvicorn_protocol import CoalescingProtocol
from gateway.settings import Settings


class WorkerFailed(Exception):
    """A background worker of the gateway failed; the log says which. Start the gateway again."""


async def serve(settings: Settings, sockets: list[socket]) -> None:
    """Serve the gateway until it is told to stop. Raises `WorkerFailed`."""
    server = create_server(settings)
    await server.serve(sockets)
    if server.has_failed:
        raise WorkerFailed(WorkerFailed.__doc__)


def create_server(settings: Settings) -> "Server":
    """Create the server: on SIGTERM and SIGINT it takes no more requests, and ends those that are open."""
    app = create_app(settings, lambda: server.fail())
    config = uvicorn.Config(
        RequestNormalizer(app),
        host=settings.host,
        port=settings.port,
        loop="none",
        http=CoalescingProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # read where URLs are made
        timeout_graceful_shutdown=3,
        timeout_keep_alive=75,
    )
    server = Server(config, app)
    return server


class Server(uvicorn.Server):
    """The HTTP server of one gateway, which stops at once when it is told to.

    Creates that wait are answered before, as if their wait had run out; streams end, and clients resume them elsewhere.
    """

    def __init__(self, config: uvicorn.Config, app: Litestar) -> None:
        super().__init__(config)
        self._app = app
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wakeup = asyncio.Event()
        self.has_failed = False

    def fail(self) -> None:
        """Stop because a background worker has failed."""
        self.has_failed = True
        self.stop()

    def stop(self) -> None:
        """Stop at once: after only setting `should_exit` it takes up to a second."""
        self.should_exit = True
        self._wakeup.set()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop on a signal."""
        super().handle_exit(sig, frame)
        if self._loop is not None:  # a signal comes between any two steps of the loop, or while it sleeps
            self._loop.call_soon_threadsafe(self._wakeup.set)

    async def main_loop(self) -> None:
        """Tick once a second, for the date that answers carry: uvicorn's own loop looks ten times if it is to stop."""
        self._loop = asyncio.get_running_loop()
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._wakeup.wait()

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """End waits and streams, then the server."""
        self._app.state.services.predictions.live_events.close()
        await super().shutdown(sockets)
