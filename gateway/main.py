"""Serve the gateway until it is told to stop."""

from socket import socket

import uvicorn
from litestar import Litestar

from gateway.app import create_app
from gateway.edge import Edge
from gateway.settings import Settings


class PartFailed(Exception):
    """A part of the gateway failed; the log says which. Start it again."""


async def serve(settings: Settings) -> None:
    """Raises `PartFailed`."""
    served = server(settings)
    await served.serve()
    if served.failed:
        raise PartFailed(PartFailed.__doc__)


def server(settings: Settings) -> "Server":
    """With SIGTERM and SIGINT it stops taking requests, and ends those that are open."""

    def on_failure() -> None:
        made.failed = made.should_exit = True

    app = create_app(settings, on_failure)
    config = uvicorn.Config(
        Edge(app),
        host=settings.host,
        port=settings.port,
        loop="none",
        http="httptools",
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
        self.failed = False

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        self._app.state.parts.live.close()
        await super().shutdown(sockets)
