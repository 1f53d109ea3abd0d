"""The load generator, a process that reads a plan from stdin and writes what it measures to stdout.

Run as `python -m benchmarks.load`, with the token in SAMOVAR_TOKEN. After the plan, a line on stdin begins each repeat;
progress goes to stderr. `benchmarks.measure` talks to it.
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
from benchmarks.load.messages import Failure, Message, Ready, RepeatDone
from benchmarks.load.protocols import PROTOCOLS, PreparedRequest, WrongAnswer
from benchmarks.samples import Plan, Protocol
from benchmarks.wire import Address

HEADERS: Final[Mapping[Protocol, list[str]]] = {"sync": ["prefer: wait"], "plain-stream": [EVENTS]}


class TargetNotReady(Exception):
    """The target does not answer as it should."""


async def measure(plan: Plan, token: str | None) -> None:
    """Carry out a plan."""
    new = partial(Client, Address.parse(plan.url), token)
    _print_progress("sending each request once")
    await _request_once(plan, token, new())
    load = Load(plan, prepare_requests(plan, token), new)
    _print_progress("warm-up")
    await load.run(plan.warm_up, plan.seed)
    for number in range(1, plan.repeats + 1):
        gc.collect()
        _send(Ready())
        sys.stdin.readline()
        async with _report_progress(load, f"repeat {number} of {plan.repeats}"):
            _send(await _repeat(load, plan.seed + number))
    load.close()


async def _repeat(load: Load, seed: int) -> RepeatDone:
    at, cpu = datetime.now(UTC).isoformat(), time.process_time()
    seconds = await load.run(load.plan.seconds, seed)
    cpu_used = time.process_time() - cpu
    return RepeatDone(at=at, seconds=seconds, cpu=cpu_used, samples=sorted(load.samples, key=lambda sample: sample.at))


async def _request_once(plan: Plan, token: str | None, client: Client) -> None:
    """Request each path once, so that an error is reported once, and cold models are loaded.

    A model may take longer to load than a `Prefer: wait` waits, so such a request is followed until it is done.
    """
    waits = plan.protocol == "sync"
    ask = PROTOCOLS["async" if waits else plan.protocol]
    single = structs.replace(plan, protocol="async", expect=None) if waits else plan
    paths = {plan.requests[request.number].path: request for request in reversed(prepare_requests(single, token))}
    for path, request in paths.items():
        try:
            await ask(client, request)
        except OSError as error:
            raise TargetNotReady(f"cannot reach {plan.url}: {error.strerror or error}") from None
        except WrongAnswer as error:
            raise TargetNotReady(f"{path}: {error}") from None
    client.close()


def prepare_requests(plan: Plan, token: str | None) -> list[PreparedRequest]:
    """Return the bytes of each request, so that none are made while requests are sent."""
    address, expect = Address.parse(plan.url), (plan.expect or "").encode()
    headers = HEADERS.get(plan.protocol, [])
    return [
        PreparedRequest(number, wire.encode_post(address, request.path, bytes(request.body), token, *headers), expect)
        for number, request in enumerate(plan.requests)
    ]


@asynccontextmanager
async def _report_progress(load: Load, what: str) -> AsyncGenerator[None]:
    """Report the number of answers every second."""

    async def watch() -> None:
        while True:
            await asyncio.sleep(1)
            _print_progress(f"{what}: {len(load.samples)} answers")

    reporter = asyncio.create_task(watch())
    try:
        yield
    finally:
        reporter.cancel()


def _send(message: Message) -> None:
    sys.stdout.buffer.write(json.encode(message) + b"\n")
    sys.stdout.flush()


def _print_progress(progress: str) -> None:
    print(progress, file=sys.stderr, flush=True)


def main() -> None:
    """Read the plan, and carry it out."""
    plan = json.decode(sys.stdin.buffer.readline(), type=Plan)
    # Samples live to the end of their repeat, and nothing here makes cycles: collecting would only take time.
    gc.disable()
    try:
        uvloop.run(measure(plan, os.environ.get("SAMOVAR_TOKEN")))
    except (TargetNotReady, ValueError) as error:
        _send(Failure(str(error)))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
