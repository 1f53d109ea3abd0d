"""A stream of server-sent events as the server drives it."""

import asyncio
from collections.abc import AsyncGenerator

from anyio import create_task_group

from gateway.routes.streams import kept_alive


async def test_a_stream_that_is_left_ends_in_order() -> None:
    """The server cancels again and again until all is over; what takes a moment to end is waited for nevertheless."""
    begun, ended = asyncio.Event(), asyncio.Event()

    async def frames() -> AsyncGenerator[bytes]:
        begun.set()
        try:
            await asyncio.Event().wait()
            yield b""
        finally:
            for _ in range(3):
                await asyncio.sleep(0)
            ended.set()

    async def read() -> None:
        async for _ in kept_alive(frames(), 60):
            pass

    async with create_task_group() as server:
        server.start_soon(read)
        await begun.wait()
        server.cancel_scope.cancel()
    assert ended.is_set()
