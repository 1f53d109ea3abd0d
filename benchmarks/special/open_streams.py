"""Thousands of open streams on one gateway: the memory of each, and how late events reach clients."""

import asyncio
import resource
import statistics
import time
from collections.abc import Iterator
from typing import Final

import uvloop

from benchmarks import processes
from benchmarks.plans import MODELS
from benchmarks.samples import Figure
from benchmarks.special.client import Client, StreamPieces, event_ages
from benchmarks.special.options import RowOptions, create_figure
from benchmarks.special.usage import resident_bytes
from benchmarks.stack import Stack, running_stack

NAME: Final = "open SSE streams"
STREAMS: Final = 2000
EVENTS: Final = 1000
"""Events per second of all streams together."""
WINDOW: Final = 3.0
TICKS: Final = 1800
OPEN_FILES: Final = 8192
"""Open files that a process may have; a connection is one at either end."""


def open_streams(options: RowOptions) -> Iterator[Figure]:
    """Measure the memory of streams, and the age of events."""
    _allow_open_files(OPEN_FILES)
    count = 200 if options.quick else STREAMS
    with running_stack(models=[MODELS], environ={"SAMOVAR_BUNDLED": "false"}) as stack:
        each, opened, ages = uvloop.run(measure_streams(stack, count, options.repeats))
    yield create_figure(NAME, "streams", [opened])
    yield create_figure(NAME, "kB each", [each])
    yield create_figure(NAME, "ms, p99", ages, streams=opened, window=WINDOW)


async def measure_streams(stack: Stack, count: int, windows: int) -> tuple[float, float, list[float]]:
    """Return the kB of each stream, how many were active, and the 99th percentile of event ages in each window."""
    client = Client.of(stack)
    (gateway,) = processes.find(stack, "gateway")
    pause = count / EVENTS
    await client.warm("ticker", {"ticks": 1})
    ask = client.post("ticker", {"ticks": TICKS, "pause": pause})
    predictions = await client.create_all([ask] * count)
    await asyncio.sleep(2 * pause + 2)  # until all of them run
    before = resident_bytes(gateway)
    connections = await client.connected(count)
    pieces = [StreamPieces() for _ in connections]
    requests = [
        c.ask(client.stream(p), on_chunk) for c, p, on_chunk in zip(connections, predictions, pieces, strict=True)
    ]
    await asyncio.sleep(2 * pause + 2)
    memory_each = (resident_bytes(gateway) - before) / count / 1000
    ages = [await _event_age(pieces) for _ in range(windows)]
    active = sum(1 for each in pieces if each.pieces)
    for connection in connections:
        connection.close()
    await asyncio.gather(*requests, return_exceptions=True)
    return memory_each, active, ages


async def _event_age(pieces: list[StreamPieces]) -> float:
    for each in pieces:
        each.pieces.clear()
    began = time.time()
    await asyncio.sleep(WINDOW)
    ages = [age for each in pieces for age in event_ages(each.outputs())]
    rate = len(ages) / (time.time() - began)
    assert rate > EVENTS / 2, f"only {rate:.0f} events a second"
    return statistics.quantiles(ages, n=100)[98]


def _allow_open_files(files: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(files, hard), hard))
