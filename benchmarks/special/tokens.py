"""Streams of model tokens: how many events reach clients in a second, and how fresh the first one is."""

import asyncio
import statistics
from collections.abc import Iterator
from typing import Final

import uvloop

from benchmarks.plans import MODELS
from benchmarks.samples import Figure
from benchmarks.special.client import Client, Heard, ages, in_order, yielded
from benchmarks.special.terms import Terms, figure
from benchmarks.stack import running

NAME: Final = "token stream"
FIRST: Final = "first event"
PACED: Final = "token stream, paced"
STREAMS: Final = 100
EACH: Final = 1000
"""Tokens of a stream."""
WAIT: Final = 1.5
"""Seconds before the first token: all clients listen by then, and nothing is kept for them meanwhile."""
PACE: Final = 20_000
"""Events a second that the model yields, where it is not as many as it can."""
STEADY: Final = 600
FIRSTS: Final = 40
PAUSE: Final = 0.05  # seconds before a tick: the client listens by then


def token_stream(terms: Terms) -> Iterator[Figure]:
    with running(models=[MODELS], environ={"SAMOVAR_BUNDLED": "false"}) as stack:
        client = Client.of(stack)
        for model in ("ticker", "clock"):
            uvloop.run(client.warm(model, {"ticks": 1}))
        uvloop.run(listened(client, streams=10, each=50))
        floods = [uvloop.run(listened(client, STREAMS, EACH)) for _ in range(terms.repeats)]
        yield figure(NAME, "events/s", list(map(rate, floods)), streams=STREAMS, tokens=EACH)
        firsts = [uvloop.run(first(client, FIRSTS)) for _ in range(terms.repeats)]
        yield figure(FIRST, "ms, p50", firsts, events=FIRSTS)
        paced = [uvloop.run(listened(client, STREAMS, STEADY, pause=STREAMS / PACE)) for _ in range(terms.repeats)]
        rates = list(map(rate, paced))
        yield figure(PACED, "events/s", rates, streams=STREAMS, pace=PACE)
        yield figure(PACED, "ms, p99", list(map(oldest, paced)), streams=STREAMS, pace=PACE)


Outputs = list[tuple[float, str]]


async def listened(client: Client, streams: int, each: int, pause: float = 0.0) -> Outputs:
    """All output events that all clients got; none is missing, and each stream's are in order."""
    connections = await client.connected(streams)
    heard = [Heard() for _ in connections]
    ask = client.post("ticker", {"ticks": each, "pause": pause, "wait": WAIT})
    made = await client.create_all([ask] * streams)
    await asyncio.gather(
        *(one.ask(client.stream(p), hear) for one, p, hear in zip(connections, made, heard, strict=True))
    )
    for connection in connections:
        connection.close()
    outputs = [one.outputs() for one in heard]
    for found in outputs:
        assert len(found) == each, f"{len(found)} of {each} events"
        assert in_order(data for _, data in found), "events are out of order"
    return [one for found in outputs for one in found]


def rate(outputs: Outputs) -> float:
    """Events per second, from the moment that the model yielded the first to that at which a client had the last."""
    began = min(yielded(data) for _, data in outputs)
    return len(outputs) / (max(at for at, _ in outputs) - began)


def oldest(outputs: Outputs) -> float:
    """Milliseconds: the 99th percentile of what passes between a yield and the client's hands."""
    return statistics.quantiles(ages(outputs), n=100)[98]


async def first(client: Client, times: int) -> float:
    """Milliseconds from the yield of a model's first output to the client's hands: the median."""
    found: list[float] = []
    posting, listening = await client.connected(2)
    for _ in range(times):
        made = await client.create(posting, client.post("clock", {"ticks": 1, "pause": PAUSE}))
        heard = Heard()
        await listening.ask(client.stream(made), heard)
        found += ages(heard.outputs())[:1]
    assert len(found) == times, f"{len(found)} of {times} first events"
    for connection in (posting, listening):
        connection.close()
    return statistics.median(found)
