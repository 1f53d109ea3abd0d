"""The load generator, in a process of its own: a plan comes on stdin, what was seen goes to stdout.

`python -m benchmarks.load`, with the token in SAMOVAR_TOKEN. After the plan a line on stdin begins each repeat;
progress is on stderr. `benchmarks.measure` speaks with it.
"""

import asyncio
import gc
import os
import sys
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Final

import uvloop
from msgspec import json, structs

from benchmarks import wire
from benchmarks.load.clients import EVENTS, Client
from benchmarks.load.loops import Load
from benchmarks.load.protocols import PROTOCOLS, Prepared, Wrong
from benchmarks.load.said import Ran, Ready, Said, Stopped
from benchmarks.samples import Plan, Protocol
from benchmarks.wire import Address

HEADERS: Final[Mapping[Protocol, list[str]]] = {"sync": ["prefer: wait"], "plain-stream": [EVENTS]}


class Unready(Exception):
    """The target does not answer as it should."""


async def measured(plan: Plan, token: str | None) -> None:
    new = partial(Client, Address.of(plan.url), token)
    _tell("asking once")
    await _first(plan, token, new())
    load = Load(plan, prepared(plan, token), new)
    _tell("warm-up")
    await load.run(plan.warm_up, plan.seed)
    for number in range(1, plan.repeats + 1):
        gc.collect()
        _say(Ready())
        sys.stdin.readline()
        async with _watched(load, f"repeat {number} of {plan.repeats}"):
            _say(await _repeat(load, plan.seed + number))
    load.close()


async def _repeat(load: Load, seed: int) -> Ran:
    at, cpu = datetime.now(UTC).isoformat(), time.process_time()
    seconds = await load.run(load.plan.seconds, seed)
    used = time.process_time() - cpu
    return Ran(at=at, seconds=seconds, cpu=used, samples=sorted(load.samples, key=lambda sample: sample.at))


async def _first(plan: Plan, token: str | None, client: Client) -> None:
    """Each path is asked once, so that what is wrong is said once, and what is cold is loaded.

    A model may take longer to load than a `Prefer: wait` waits, so that is followed until it is done.
    """
    waits = plan.protocol == "sync"
    ask = PROTOCOLS["async" if waits else plan.protocol]
    asked = structs.replace(plan, protocol="async", expect=None) if waits else plan
    paths = {plan.requests[request.which].path: request for request in reversed(prepared(asked, token))}
    for path, request in paths.items():
        try:
            await ask(client, request)
        except OSError as error:
            raise Unready(f"cannot reach {plan.url}: {error.strerror or error}") from None
        except Wrong as error:
            raise Unready(f"{path}: {error}") from None
    client.close()


def prepared(plan: Plan, token: str | None) -> list[Prepared]:
    """The bytes of each request, so that nothing of them is made while they are sent."""
    address, expect = Address.of(plan.url), (plan.expect or "").encode()
    headers = HEADERS.get(plan.protocol, [])
    return [
        Prepared(index, wire.post(address, request.path, bytes(request.body), token, *headers), expect)
        for index, request in enumerate(plan.requests)
    ]


@asynccontextmanager
async def _watched(load: Load, what: str) -> AsyncGenerator[None]:
    """Says every second how far it is."""

    async def watch() -> None:
        while True:
            await asyncio.sleep(1)
            _tell(f"{what}: {len(load.samples)} answers")

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()


def _say(said: Said) -> None:
    sys.stdout.buffer.write(json.encode(said) + b"\n")
    sys.stdout.flush()


def _tell(progress: str) -> None:
    print(progress, file=sys.stderr, flush=True)


def main() -> None:
    plan = json.decode(sys.stdin.buffer.readline(), type=Plan)
    # Samples live to the end of their repeat, and nothing here makes cycles: looking for some would only take time.
    gc.disable()
    try:
        uvloop.run(measured(plan, os.environ.get("SAMOVAR_TOKEN")))
    except (Unready, ValueError) as error:
        _say(Stopped(str(error)))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
