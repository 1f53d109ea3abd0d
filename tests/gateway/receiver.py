"""Somebody who receives webhooks, and answers as a test says."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import uvicorn
from msgspec import Struct, json


class Received(Struct):
    path: str
    headers: dict[str, str]
    raw: bytes
    at: float

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def body(self) -> dict[str, Any]:
        return json.decode(self.raw)


class Receiver:
    """`statuses` are given out first; None hangs."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}/hook"
        self.got: list[Received] = []
        self.statuses: list[int | None] = []
        self.usual: int | None = 200
        self.open = self.most = 0
        """Requests that hang, and how many did at once."""
        self._changed = asyncio.Event()

    async def until(self, holds: Callable[[list[Received]], bool], limit: float = 10.0) -> list[Received]:
        async with asyncio.timeout(limit):
            while not holds(self.got):
                self._changed.clear()
                await self._changed.wait()
        return self.got

    async def count(self, count: int, limit: float = 10.0) -> list[Received]:
        return await self.until(lambda got: len(got) >= count, limit)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        raw, more = b"", True
        while more:
            message = await receive()
            raw += message.get("body", b"")
            more = message.get("more_body", False)
        self._changed.set()
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.got.append(Received(scope["path"], headers, raw, asyncio.get_running_loop().time()))
        status = self.statuses.pop(0) if self.statuses else self.usual
        if status is None:
            self.open += 1
            self.most = max(self.most, self.open)
            self._changed.set()
            await receive()  # until the other side goes away
            self.open -= 1
            return
        location = [(b"location", self.url.encode() + b"/elsewhere")] if 300 <= status < 400 else []
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0"), *location]})
        await send({"type": "http.response.body", "body": b""})


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@asynccontextmanager
async def receiving(receiver: Receiver, **tls: str) -> AsyncGenerator[Receiver]:
    """Up for as long as the block lasts."""
    config = uvicorn.Config(
        receiver,
        port=receiver.port,
        log_config=None,
        lifespan="off",
        timeout_graceful_shutdown=0,
        access_log=False,
        ssl_certfile=tls.get("ssl_certfile"),
        ssl_keyfile=tls.get("ssl_keyfile"),
    )
    async with running(config):
        yield receiver


@asynccontextmanager
async def running(config: uvicorn.Config) -> AsyncGenerator[uvicorn.Server]:
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve())
    while not server.started:
        assert not task.done()
        await asyncio.sleep(0)
    try:
        yield server
    finally:
        server.should_exit = True
        with suppress(asyncio.CancelledError):
            await task
