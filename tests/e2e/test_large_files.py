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
    [process] = [child for child in stack.up.children(recursive=True) if "gateway" in child.cmdline()]
    return process


def stream_form() -> AsyncGenerator[bytes]:
    async def content() -> AsyncGenerator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="content"; filename="large"\r\n\r\n'
        for _ in range(SIZE // len(PIECE)):
            yield PIECE
        yield b"\r\n--x--\r\n"

    return content()


async def round_trip(http: httpx.AsyncClient) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    created = (await http.post("/v1/files", content=stream_form(), headers=headers)).json()
    assert created["size"] == SIZE
    async with http.stream("GET", created["urls"]["download"]) as answer:
        assert sum([len(piece) async for piece in answer.aiter_bytes()]) == SIZE
    assert (await http.delete(created["urls"]["get"])).status_code == 204


async def peak_memory(process: psutil.Process, work: asyncio.Future[list[None]]) -> int:
    """Return the peak of the process's resident memory while the work goes on."""
    peak = 0
    while not work.done():
        peak = max(peak, process.memory_info().rss)
        await asyncio.wait({work}, timeout=0.02)
    return peak


@pytest.mark.parametrize("at_once", [1, 3])
async def test_a_large_file_does_not_stay_in_memory(stack: Stack, at_once: int) -> None:
    process = gateway(stack)
    async with httpx.AsyncClient(base_url=stack.url, headers=stack.headers, timeout=120) as http:
        await http.post("/v1/files", files={"content": b"small"})
        before = process.memory_info().rss
        work = asyncio.gather(*(round_trip(http) for _ in range(at_once)))
        peak = await peak_memory(process, work)
        await work
    print(f"{(peak - before) / 1e6:.1f} MB more")
    assert peak - before < MOST * at_once, f"{(peak - before) / 1e6:.0f} MB"
