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
from benchmarks.bare import apart
from benchmarks.rivals.model import FOLDER, Model
from benchmarks.samples import Figure
from deploy.local.nats import User, running_nats

HERE: Final = Path(__file__).parent
MINILM: Final = HERE.parent / "runners" / "models" / "minilm"
SIZES: Final = (32, 1)
PLAIN: Final = {"no-op": HERE / "models" / "noop", "sleep 10 ms": HERE / "models" / "sleep"}
PAYLOAD: Final = b"x" * 256
"""As many bytes as a small job has."""
ANYONE: Final = User(name="floor", publish=(">",), subscribe=(">",))

Progress = Callable[[str], None]


def floor(
    repeats: int, seconds: float, threads: int, progress: Progress | None = None, sizes: Sequence[int] = SIZES
) -> list[Figure]:
    """Texts per second in a bare loop, and what a message through NATS takes; `seconds` is of each of them.

    `sizes` are those of minilm's batches.
    """
    tell, here = progress or _silent, machine.describe()
    at = datetime.now(UTC).isoformat()

    def figure(name: str, target: str, what: str, values: list[float], **details: float) -> Figure:
        return Figure(name=name, target=target, figure=what, values=values, at=at, machine=here, details=details)

    def rates(name: str, once: Callable[[], float]) -> list[float]:
        return [
            _told(tell, f"bare loop, {name}: repeat {number} of {repeats}", once()) for number in range(1, repeats + 1)
        ]

    found: list[Figure] = []
    for size in sizes:
        values = rates("minilm", partial(_minilm, size, seconds, threads))
        found.append(figure("bare loop, minilm", "bare loop", f"texts/s, batches of {size}", values, threads=threads))
    for name, folder in PLAIN.items():
        values = rates(name, partial(_plain, folder, seconds))
        found.append(figure(f"bare loop, {name}", "bare loop", "predictions/s", values))
    trips, publishes = broker(repeats, seconds, tell)
    found.append(figure("NATS round trip", "nats", "µs, p50", trips, bytes=len(PAYLOAD)))
    found.append(figure("JetStream publish", "nats", "µs, p50", publishes, bytes=len(PAYLOAD)))
    return found


def _silent(_: str) -> None:
    pass


def _told(tell: Progress, what: str, rate: float) -> float:
    tell(f"{what}: {rate:.0f}/s")
    return rate


def _minilm(size: int, seconds: float, threads: int) -> float:
    [looped] = apart(MINILM, size, seconds=seconds, threads=threads)
    return looped.rate


def _plain(folder: Path, seconds: float) -> float:
    """Predictions per second of a predictor that has no batches, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.floor", str(seconds)]
    done = subprocess.run(command, env={**os.environ, FOLDER: str(folder)}, stdout=subprocess.PIPE, check=True)
    return float(done.stdout)


def main() -> None:
    model, inputs, seconds = Model(), {"text": "tea"}, float(sys.argv[1])
    count, begun = 0, time.perf_counter()
    while (took := time.perf_counter() - begun) < seconds:
        model.one(inputs)
        count += 1
    print(count / took)


def broker(repeats: int, seconds: float, tell: Progress) -> tuple[list[float], list[float]]:
    """Medians in µs, by repeat: a request and its reply, and a publish until JetStream has it."""
    return asyncio.run(_served(repeats, seconds, tell))


async def _served(repeats: int, seconds: float, tell: Progress) -> tuple[list[float], list[float]]:
    """By a server of its own, with JetStream on this machine's disk, as `samovar up` starts one."""
    with tempfile.TemporaryDirectory(prefix="floor-") as folder:
        async with running_nats(Path(folder), users=[ANYONE]) as server:
            asked = _measured(server.urls[ANYONE.name], repeats, seconds, tell)
            return await asyncio.to_thread(uvloop.run, asked)  # which starts nothing as another user


async def _measured(url: str, repeats: int, seconds: float, tell: Progress) -> tuple[list[float], list[float]]:
    asking, answering = await nats.connect(url), await nats.connect(url)

    async def answer(message: Msg) -> None:
        await message.respond(message.data)

    await answering.subscribe("echo", cb=answer)
    await answering.flush()
    stream = asking.jetstream()
    await stream.add_stream(name="FLOOR", subjects=["floor"], max_bytes=64 << 20)
    trips: list[float] = []
    publishes: list[float] = []
    for number in range(repeats):
        trips.append(await _median(lambda: asking.request("echo", PAYLOAD), seconds))
        publishes.append(await _median(lambda: stream.publish("floor", PAYLOAD), seconds))
        tell(f"NATS: repeat {number + 1} of {repeats}: {trips[-1]:.0f} µs and {publishes[-1]:.0f} µs")
    await asking.close()
    await answering.close()
    return trips, publishes


async def _median(once: Callable[[], Awaitable[object]], seconds: float) -> float:
    """One after the other, as a client that waits."""
    took: list[float] = []
    until = time.perf_counter() + seconds
    while not took or time.perf_counter() < until:
        begun = time.perf_counter()
        await once()
        took.append(time.perf_counter() - begun)
    return statistics.median(took) * 1e6


if __name__ == "__main__":
    main()
