"""The floor: the same work with nothing around it, and a message broker with nothing behind it."""

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import nats
import uvloop
from nats.aio.msg import Msg

from benchmarks import machine
from benchmarks.bare_loop import run_in_process
from benchmarks.rivals.model import FOLDER, Model
from benchmarks.samples import Figure
from deploy.local.nats import NatsUser, run_nats

HERE: Final = Path(__file__).parent
MINILM: Final = HERE.parent / "runners" / "models" / "minilm"
BATCH_SIZES: Final = (32, 1)
PREDICTORS: Final = {"no-op": HERE / "models" / "noop", "sleep 10 ms": HERE / "models" / "sleep"}
PAYLOAD: Final = b"x" * 256
"""As large as a small job."""
USER: Final = NatsUser(name="floor", publish=(">",), subscribe=(">",))

Progress = Callable[[str], None]


def measure_floor(
    repeats: int, seconds: float, threads: int, progress: Progress | None = None, sizes: Sequence[int] = BATCH_SIZES
) -> list[Figure]:
    """Measure texts per second in a bare loop, and the time of a message through NATS.

    `seconds` is the time of each repeat; `sizes` are those of minilm's batches.
    """
    report, here = progress or _ignore, machine.describe_machine()
    at = datetime.now(UTC).isoformat()

    def figure(name: str, target: str, unit: str, values: list[float], **details: float) -> Figure:
        return Figure(name=name, target=target, figure=unit, values=values, at=at, machine=here, details=details)

    def rates(name: str, once: Callable[[], float]) -> list[float]:
        return [
            _report_rate(report, f"bare loop, {name}: repeat {number} of {repeats}", once())
            for number in range(1, repeats + 1)
        ]

    figures: list[Figure] = []
    for size in sizes:
        values = rates("minilm", partial(_measure_minilm, size, seconds, threads))
        figures.append(figure("bare loop, minilm", "bare loop", f"texts/s, batches of {size}", values, threads=threads))
    for name, folder in PREDICTORS.items():
        values = rates(name, partial(_measure_predictor, folder, seconds))
        figures.append(figure(f"bare loop, {name}", "bare loop", "predictions/s", values))
    trips, publishes = measure_broker(repeats, seconds, report)
    figures.append(figure("NATS round trip", "nats", "µs, p50", trips, bytes=len(PAYLOAD)))
    figures.append(figure("JetStream publish", "nats", "µs, p50", publishes, bytes=len(PAYLOAD)))
    return figures


def _ignore(_: str) -> None:
    pass


def _report_rate(report: Progress, prefix: str, rate: float) -> float:
    report(f"{prefix}: {rate:.0f}/s")
    return rate


def _measure_minilm(size: int, seconds: float, threads: int) -> float:
    [result] = run_in_process(MINILM, size, seconds=seconds, threads=threads)
    return result.rate


def _measure_predictor(folder: Path, seconds: float) -> float:
    """Return the predictions per second of a predictor without batches, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.floor", str(seconds)]
    result = subprocess.run(command, env={**os.environ, FOLDER: str(folder)}, stdout=subprocess.PIPE, check=True)
    return float(result.stdout)


def main() -> None:
    """Print the predictions per second of the predictor in RIVAL_MODEL."""
    model, inputs, seconds = Model(), {"text": "tea"}, float(sys.argv[1])
    count, began = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - began) < seconds:
        model.one(inputs)
        count += 1
    print(count / elapsed)


def measure_broker(repeats: int, seconds: float, report: Progress) -> tuple[list[float], list[float]]:
    """Return medians in µs by repeat: of a request and its reply, and of a publish to JetStream."""
    return asyncio.run(_measure_server(repeats, seconds, report))


async def _measure_server(repeats: int, seconds: float, report: Progress) -> tuple[list[float], list[float]]:
    """Measure a NATS server with JetStream on this machine's disk, as `samovar up` starts one."""
    with tempfile.TemporaryDirectory(prefix="floor-") as folder:
        async with run_nats(Path(folder), users=[USER]) as server:
            measuring = _measure_messages(server.urls[USER.name], repeats, seconds, report)
            return await asyncio.to_thread(uvloop.run, measuring)  # which starts no process as another user


async def _measure_messages(
    url: str, repeats: int, seconds: float, report: Progress
) -> tuple[list[float], list[float]]:
    requester, responder = await nats.connect(url), await nats.connect(url)

    async def answer(message: Msg) -> None:
        await message.respond(message.data)

    await responder.subscribe("echo", cb=answer)
    await responder.flush()
    stream = requester.jetstream()
    await stream.add_stream(name="FLOOR", subjects=["floor"], max_bytes=64 << 20)
    trips: list[float] = []
    publishes: list[float] = []
    for number in range(repeats):
        trips.append(await _median(lambda: requester.request("echo", PAYLOAD), seconds))
        publishes.append(await _median(lambda: stream.publish("floor", PAYLOAD), seconds))
        report(f"NATS: repeat {number + 1} of {repeats}: {trips[-1]:.0f} µs and {publishes[-1]:.0f} µs")
    await requester.close()
    await responder.close()
    return trips, publishes


async def _median(once: Callable[[], Awaitable[object]], seconds: float) -> float:
    """Call `once` again and again, as a client that waits, and return the median in µs."""
    durations: list[float] = []
    until = time.perf_counter() + seconds
    while not durations or time.perf_counter() < until:
        began = time.perf_counter()
        await once()
        durations.append(time.perf_counter() - began)
    return statistics.median(durations) * 1e6


if __name__ == "__main__":
    main()
