"""Large files pass through a gateway without staying in it."""

import asyncio
import os
from collections.abc import AsyncGenerator

import httpx
import psutil
import pytest

from benchmarks.stack import Stack

SIZE = 90_000_000
MOST = 20_000_000
PIECE = os.urandom(1_000_000)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def gateway(stack: Stack) -> psutil.Process:
    [found] = [child for child in stack.up.children(recursive=True) if "gateway" in child.cmdline()]
    return found


def form() -> AsyncGenerator[bytes]:
    async def content() -> AsyncGenerator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="content"; filename="large"\r\n\r\n'
        for _ in range(SIZE // len(PIECE)):
            yield PIECE
        yield b"\r\n--x--\r\n"

    return content()


async def round_trip(http: httpx.AsyncClient) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    made = (await http.post("/v1/files", content=form(), headers=headers)).json()
    assert made["size"] == SIZE
    async with http.stream("GET", made["urls"]["download"]) as answer:
        assert sum([len(piece) async for piece in answer.aiter_bytes()]) == SIZE
    assert (await http.delete(made["urls"]["get"])).status_code == 204


async def highest(process: psutil.Process, doing: asyncio.Future[list[None]]) -> int:
    """Its resident memory, the most of it while this goes on."""
    most = 0
    while not doing.done():
        most = max(most, process.memory_info().rss)
        await asyncio.wait({doing}, timeout=0.02)
    return most


@pytest.mark.parametrize("at_once", [1, 3])
async def test_a_large_file_does_not_stay_in_memory(stack: Stack, at_once: int) -> None:
    process = gateway(stack)
    async with httpx.AsyncClient(base_url=stack.url, headers=stack.headers, timeout=120) as http:
        await http.post("/v1/files", files={"content": b"small"})
        before = process.memory_info().rss
        doing = asyncio.gather(*(round_trip(http) for _ in range(at_once)))
        most = await highest(process, doing)
        await doing
    print(f"{(most - before) / 1e6:.1f} MB more")
    assert most - before < MOST * at_once, f"{(most - before) / 1e6:.0f} MB"
