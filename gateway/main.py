"""Serve the gateway until it is told to stop."""

import uvicorn

from gateway.app import create_app
from gateway.edge import Edge
from gateway.settings import Settings


async def serve(settings: Settings) -> None:
    """Streams that are open when it is told to stop are ended: their clients go on elsewhere, or here later."""
    config = uvicorn.Config(
        Edge(create_app(settings)),
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
    await uvicorn.Server(config).serve()
