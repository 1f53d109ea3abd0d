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
    async with open_client(stack.url, stack.token) as client:
        yield client


@asynccontextmanager
async def open_client(url: str, token: str) -> AsyncGenerator[Client]:
    """Open a client and close its sockets: it has no `close`, and an open socket is a warning in a later test."""
    client = Client(api_token=token, base_url=url)
    try:
        yield client
    finally:
        client._client.close()
        await client._async_client.aclose()
