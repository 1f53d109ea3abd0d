"""The official clients, pointed at the live stack as their own documentation says."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from replicate.client import Client

from benchmarks.stack import Stack
from tests.live import api, closed, stack

__all__ = ["api", "closed", "stack"]


@pytest.fixture(scope="session")
async def replicate(stack: Stack) -> AsyncGenerator[Client]:
    async with connected(stack.url, stack.token) as client:
        yield client


@asynccontextmanager
async def connected(url: str, token: str) -> AsyncGenerator[Client]:
    """The client has no `close` of its own, and a socket left open is a warning in whatever test comes next."""
    client = Client(api_token=token, base_url=url)
    try:
        yield client
    finally:
        client._client.close()
        await client._async_client.aclose()
