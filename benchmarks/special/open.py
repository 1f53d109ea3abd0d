"""Thousands of streams on one gateway: what each takes of its memory, and how late an event is at the client."""

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
from benchmarks.special.client import Client, Heard, ages
from benchmarks.special.cost import resident
from benchmarks.special.terms import Terms, figure
from benchmarks.stack import Stack, running

NAME: Final = "open SSE streams"
STREAMS: Final = 2000
EVENTS: Final = 1000
"""A second, of all streams together."""
WINDOW: Final = 3.0
LONG: Final = 1800
FILES: Final = 8192
"""That a process may have open: a connection is one, at either end."""


def open_streams(terms: Terms) -> Iterator[Figure]:
    _allow(FILES)
    count = 200 if terms.quick else STREAMS
    with running(models=[MODELS], environ={"SAMOVAR_BUNDLED": "false"}) as stack:
        each, opened, late = uvloop.run(held(stack, count, terms.repeats))
    yield figure(NAME, "streams", [opened])
    yield figure(NAME, "kB each", [each])
    yield figure(NAME, "ms, p99", late, streams=opened, window=WINDOW)


async def held(stack: Stack, count: int, windows: int) -> tuple[float, float, list[float]]:
    """kB of each stream, how many said something, and the 99th percentile of an event's age in each window."""
    client = Client.of(stack)
    (gateway,) = processes.find(stack, "gateway")
    pause = count / EVENTS
    await client.warm("ticker", {"ticks": 1})
    ask = client.post("ticker", {"ticks": LONG, "pause": pause})
    made = await client.create_all([ask] * count)
    await asyncio.sleep(2 * pause + 2)  # all of them run, as many as do at once
    before = resident(gateway)
    connections = await client.connected(count)
    heard = [Heard() for _ in connections]
    asked = [c.ask(client.stream(p), hear) for c, p, hear in zip(connections, made, heard, strict=True)]
    await asyncio.sleep(2 * pause + 2)
    grown = (resident(gateway) - before) / count / 1000
    late = [await _late(heard) for _ in range(windows)]
    talking = sum(1 for each in heard if each.pieces)
    for connection in connections:
        connection.close()
    await asyncio.gather(*asked, return_exceptions=True)
    return grown, talking, late


async def _late(heard: list[Heard]) -> float:
    for each in heard:
        each.pieces.clear()
    began = time.time()
    await asyncio.sleep(WINDOW)
    found = [age for each in heard for age in ages(each.outputs())]
    rate = len(found) / (time.time() - began)
    assert rate > EVENTS / 2, f"only {rate:.0f} events a second"
    return statistics.quantiles(found, n=100)[98]


def _allow(files: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(files, hard), hard))
