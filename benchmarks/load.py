"""The load generator, in a process of its own: one measurement, as a JSON document on stdout.

`python -m benchmarks.load sync --url … --clients 32 --seconds 5` or `… ticks --url … --streams 1 --ticks 100`;
the token is read from SAMOVAR_TOKEN.
"""

import argparse
import asyncio
import os
import sys
import time
from urllib.parse import urlsplit

import uvloop
from msgspec import Struct, json

from benchmarks import wire
from benchmarks.wire import Connection

HELLO = "/v1/models/samovar/hello-world/predictions"
CLOCK = "/v1/models/samovar/clock/predictions"


class Sync(Struct, frozen=True, kw_only=True, tag="sync"):
    """Round trips of `Prefer: wait` creates, by clients that ask again as soon as they are answered."""

    clients: int
    seconds: float
    latencies: list[int]
    """Microseconds, each."""
    wrong: int
    """Answers that were not a succeeded prediction."""
    cpu: float
    """Seconds of CPU that the load generator itself used."""


class Ticks(Struct, frozen=True, kw_only=True, tag="ticks"):
    """From a model's `yield` to its event in the client's hands."""

    streams: int
    delays: list[int]
    """Microseconds, each."""


async def sync(url: str, token: str, clients: int, seconds: float) -> Sync:
    wishes = [json.encode({"input": {"text": str(number)}}) for number in range(clients)]
    requests = [wire.post(url, HELLO, wish, token, "prefer: wait") for wish in wishes]
    connections = [await Connection.open(url) for _ in range(clients)]
    latencies: list[int] = []
    wrong = 0

    async def one(connection: Connection, request: bytes, until: float) -> None:
        nonlocal wrong
        while (begun := time.perf_counter()) < until:
            answer = await connection.ask(request)
            latencies.append(round((time.perf_counter() - begun) * 1e6))
            wrong += answer.status != 201 or b'"status":"succeeded"' not in answer.body

    begun, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(one(c, r, begun + seconds) for c, r in zip(connections, requests, strict=True)))
    took, used = time.perf_counter() - begun, time.process_time() - cpu
    for connection in connections:
        connection.close()
    return Sync(clients=clients, seconds=took, latencies=latencies, wrong=wrong, cpu=used)


async def ticks(url: str, token: str, streams: int, count: int, pause: float) -> Ticks:
    delays = await asyncio.gather(*(_ticks(url, token, count, pause) for _ in range(streams)))
    return Ticks(streams=streams, delays=[delay for one in delays for delay in one])


async def _ticks(url: str, token: str, count: int, pause: float) -> list[int]:
    connection = await Connection.open(url)
    body = json.encode({"input": {"ticks": count, "pause": pause}})
    made = json.decode((await connection.ask(wire.post(url, CLOCK, body, token))).body)
    path = urlsplit(made["urls"]["stream"]).path
    delays: list[int] = []
    async for piece in connection.follow(wire.get(url, path, token, "accept: text/event-stream")):
        now = time.time_ns()
        said = [line[6:] for line in piece.split(b"\n") if line.startswith(b"data: ")]
        delays += [(now - int(value)) // 1000 for value in said if value.isdigit()]
    connection.close()
    assert len(delays) == count, f"{len(delays)} of {count} events came"
    return delays


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    for kind in ("sync", "ticks"):
        kinds.add_parser(kind).add_argument("--url", required=True)
    kinds.choices["sync"].add_argument("--clients", type=int, default=1)
    kinds.choices["sync"].add_argument("--seconds", type=float, default=5)
    kinds.choices["ticks"].add_argument("--streams", type=int, default=1)
    kinds.choices["ticks"].add_argument("--ticks", type=int, default=100)
    kinds.choices["ticks"].add_argument("--pause", type=float, default=0.02)
    chosen = parser.parse_args()
    token = os.environ["SAMOVAR_TOKEN"]
    if chosen.kind == "sync":
        measured = uvloop.run(sync(chosen.url, token, chosen.clients, chosen.seconds))
    else:
        measured = uvloop.run(ticks(chosen.url, token, chosen.streams, chosen.ticks, chosen.pause))
    sys.stdout.buffer.write(json.encode(measured))


if __name__ == "__main__":
    main()
