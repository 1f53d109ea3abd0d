"""Creates that nobody waits for: how many are accepted and committed in a second while the model is busy."""

import asyncio
import time
from collections.abc import Iterator
from typing import Final

import uvloop

from benchmarks import rows
from benchmarks.plans import MODELS
from benchmarks.samples import Figure
from benchmarks.special.client import Client
from benchmarks.special.terms import Terms, figure
from benchmarks.stack import running
from benchmarks.wire import Connection

NAME: Final = "async create"
CLIENTS: Final = 64
BUSY: Final = {"ticks": 1, "pause": 900}
"""The model's one worker has this to do; so nothing else is run while creates are counted, they are kept and queued."""
ENVIRON: Final = {"SAMOVAR_BUNDLED": "false", "SAMOVAR_QUEUE_CAP": "10000000"}
COUNT: Final = "SELECT count(*) FROM predictions"


def async_create(terms: Terms) -> Iterator[Figure]:
    with running(models=[MODELS], environ=ENVIRON) as stack:
        client = Client.of(stack)
        uvloop.run(client.warm("clock", {"ticks": 1}))
        uvloop.run(client.create_all([client.post("clock", BUSY)], clients=1))
        uvloop.run(accepted(client, 1))
        rates: list[float] = []
        total = 0
        for _ in range(terms.repeats):
            before = uvloop.run(rows.fetch(stack, COUNT))[0][0]
            count, seconds = uvloop.run(accepted(client, terms.seconds))
            committed = uvloop.run(rows.fetch(stack, COUNT))[0][0] - before
            assert committed == count, f"{count} accepted and {committed} in the record"
            rates.append(count / seconds)
            total += count
    yield figure(NAME, "accepted/s", rates, clients=CLIENTS, accepted=total)


async def accepted(client: Client, seconds: float) -> tuple[int, float]:
    """How many got 201, and the seconds that it took."""
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
    took = time.perf_counter() - began
    for connection in connections:
        connection.close()
    return sum(counts), took
