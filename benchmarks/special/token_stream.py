"""Streams of tokens: how many events reach clients in a second, and how old the first one is."""

import asyncio
import statistics
from collections.abc import Iterator
from typing import Final

import uvloop

from benchmarks.plans import MODELS
from benchmarks.samples import Figure
from benchmarks.special.client import Client, StreamPieces, are_in_order, event_ages, yield_time
from benchmarks.special.options import RowOptions, create_figure
from benchmarks.stack import running_stack

NAME: Final = "token stream"
FIRST_NAME: Final = "first event"
PACED_NAME: Final = "token stream, paced"
STREAMS: Final = 100
TOKENS: Final = 1000
"""Tokens of each stream."""
WAIT_SECONDS: Final = 1.5
"""Seconds before the first token; by then all clients listen, so that nothing is stored for them meanwhile."""
PACE: Final = 20_000
"""Events per second that the model yields in the paced streams."""
PACED_TOKENS: Final = 600
FIRST_EVENTS: Final = 40
PAUSE: Final = 0.05  # seconds before a tick; by then the client listens


def token_stream(options: RowOptions) -> Iterator[Figure]:
    """Measure floods, first events and paced streams."""
    with running_stack(models=[MODELS], environ={"SAMOVAR_BUNDLED": "false"}) as stack:
        client = Client.of(stack)
        for model in ("ticker", "clock"):
            uvloop.run(client.warm(model, {"ticks": 1}))
        uvloop.run(follow_streams(client, streams=10, each=50))
        floods = [uvloop.run(follow_streams(client, STREAMS, TOKENS)) for _ in range(options.repeats)]
        yield create_figure(NAME, "events/s", list(map(event_rate, floods)), streams=STREAMS, tokens=TOKENS)
        firsts = [uvloop.run(first_event_age(client, FIRST_EVENTS)) for _ in range(options.repeats)]
        yield create_figure(FIRST_NAME, "ms, p50", firsts, events=FIRST_EVENTS)
        paced = [
            uvloop.run(follow_streams(client, STREAMS, PACED_TOKENS, pause=STREAMS / PACE))
            for _ in range(options.repeats)
        ]
        rates = list(map(event_rate, paced))
        yield create_figure(PACED_NAME, "events/s", rates, streams=STREAMS, pace=PACE)
        yield create_figure(PACED_NAME, "ms, p99", list(map(p99_age, paced)), streams=STREAMS, pace=PACE)


Outputs = list[tuple[float, str]]


async def follow_streams(client: Client, streams: int, each: int, pause: float = 0.0) -> Outputs:
    """Create streams, and return all output events at all clients; none is missing or out of order."""
    connections = await client.connected(streams)
    pieces = [StreamPieces() for _ in connections]
    ask = client.post("ticker", {"ticks": each, "pause": pause, "wait": WAIT_SECONDS})
    predictions = await client.create_all([ask] * streams)
    await asyncio.gather(
        *(
            connection.ask(client.stream(p), on_chunk)
            for connection, p, on_chunk in zip(connections, predictions, pieces, strict=True)
        )
    )
    for connection in connections:
        connection.close()
    outputs = [connection.outputs() for connection in pieces]
    for stream_outputs in outputs:
        assert len(stream_outputs) == each, f"{len(stream_outputs)} of {each} events"
        assert are_in_order(data for _, data in stream_outputs), "events are out of order"
    return [output for stream_outputs in outputs for output in stream_outputs]


def event_rate(outputs: Outputs) -> float:
    """Return events per second, from the first yield of the model to the last event at a client."""
    began = min(yield_time(data) for _, data in outputs)
    return len(outputs) / (max(at for at, _ in outputs) - began)


def p99_age(outputs: Outputs) -> float:
    """Return the 99th percentile of the time from a yield to the client, in milliseconds."""
    return statistics.quantiles(event_ages(outputs), n=100)[98]


async def first_event_age(client: Client, times: int) -> float:
    """Return the median time from the yield of a model's first output to the client, in milliseconds."""
    ages: list[float] = []
    posting, following = await client.connected(2)
    for _ in range(times):
        prediction = await client.create(posting, client.post("clock", {"ticks": 1, "pause": PAUSE}))
        pieces = StreamPieces()
        await following.ask(client.stream(prediction), pieces)
        ages += event_ages(pieces.outputs())[:1]
    assert len(ages) == times, f"{len(ages)} of {times} first events"
    for connection in (posting, following):
        connection.close()
    return statistics.median(ages)
