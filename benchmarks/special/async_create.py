"""Creates that nobody waits for: how many the gateway accepts and commits in a second while the model is busy."""

import asyncio
import time
from collections.abc import Iterator
from typing import Final

import uvloop

from benchmarks import database
from benchmarks.plans import MODELS
from benchmarks.samples import Figure
from benchmarks.special.client import Client
from benchmarks.special.options import RowOptions, create_figure
from benchmarks.stack import running_stack
from benchmarks.wire import Connection

NAME: Final = "async create"
CLIENTS: Final = 64
LONG_INPUT: Final = {"ticks": 1, "pause": 900}
"""Input that keeps the model's one worker busy, so that creates are only committed and queued meanwhile."""
ENVIRON: Final = {"SAMOVAR_BUNDLED": "false", "SAMOVAR_QUEUE_CAP": "10000000"}
COUNT: Final = "SELECT count(*) FROM predictions"


def async_create(options: RowOptions) -> Iterator[Figure]:
    """Measure accepted creates per second."""
    with running_stack(models=[MODELS], environ=ENVIRON) as stack:
        client = Client.of(stack)
        uvloop.run(client.warm("clock", {"ticks": 1}))
        uvloop.run(client.create_all([client.post("clock", LONG_INPUT)], clients=1))
        uvloop.run(count_accepted(client, 1))
        rates: list[float] = []
        total = 0
        for _ in range(options.repeats):
            before = uvloop.run(database.fetch(stack, COUNT))[0][0]
            count, seconds = uvloop.run(count_accepted(client, options.seconds))
            committed = uvloop.run(database.fetch(stack, COUNT))[0][0] - before
            assert committed == count, f"{count} accepted and {committed} in the record"
            rates.append(count / seconds)
            total += count
    yield create_figure(NAME, "accepted/s", rates, clients=CLIENTS, accepted=total)


async def count_accepted(client: Client, seconds: float) -> tuple[int, float]:
    """Return how many creates got 201, and the seconds that it took."""
    connections = await client.connected(CLIENTS)
    request = client.post("clock", {"ticks": 1, "pause": 0})
    began = time.perf_counter()

    async def one(connection: Connection) -> int:
        count = 0
        while time.perf_counter() - began < seconds:
            answer = await connection.ask(request)
            assert answer.status == 201, answer
            count += 1
        return count

    counts = await asyncio.gather(*map(one, connections))
    elapsed = time.perf_counter() - began
    for connection in connections:
        connection.close()
    return sum(counts), elapsed
