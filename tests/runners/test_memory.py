"""The memory of real workers: the limit holds, and a worker that leaks is replaced."""

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import pytest
from msgspec import json
from nats.aio.client import Client

from runners.process import memory
from runners.settings import Settings
from schemas import subjects
from schemas.events import Failed, Succeeded
from schemas.models import Heartbeat, decode_heartbeat
from tests.runners.conftest import FakeGateway, eventually, running_agent, worker_processes

MB = 1_000_000

HEAVY = """
class Predictor:
    def setup(self):
        self.ballast = b"x" * {size}
    def predict(self, n: int) -> int:
        return n * {factor}
"""
LEAK = """
kept = []
class Predictor:
    def predict(self, n: int) -> int:
        kept.append(b"x" * 100_000_000)
        return n
"""
GREEDY = """
class Predictor:
    def predict(self, n: int) -> int:
        return len(b"x" * n)
"""
GROWS = """
import os, signal
input()
if not os.fork():
    held = b"x" * 96_000_000
    print("begun", flush=True)
signal.pause()
"""


def model(folder: Path, name: str, code: str) -> str:
    here = folder / name
    here.mkdir()
    (here / "cog.yaml").write_text("predict: predict.py:Predictor\n")
    (here / "predict.py").write_text(code)
    return name


class PeakMeter:
    """The peak of all workers' memory, measured apart from the agent."""

    def __init__(self) -> None:
        self.peak = 0

    async def watch(self) -> None:
        while True:
            self.peak = max(
                self.peak, sum(memory.resident_bytes([worker.pid for worker in worker_processes()]).values())
            )
            await asyncio.sleep(0.01)


@asynccontextmanager
async def measured() -> AsyncGenerator[PeakMeter]:
    meter = PeakMeter()
    task = asyncio.create_task(meter.watch())
    try:
        yield meter
    finally:
        task.cancel()
        await asyncio.wait([task])


class Heartbeats:
    """The last heartbeat of the agents."""

    def __init__(self) -> None:
        self.last = Heartbeat(agent="", host="", pool="", versions=[], warm=[])

    async def receive(self, msg: Any) -> None:
        self.last = decode_heartbeat(msg.data)


@pytest.fixture
async def heartbeats(nc: Client) -> Heartbeats:
    heartbeats = Heartbeats()
    await nc.subscribe(subjects.HEARTBEATS, cb=heartbeats.receive)
    return heartbeats


def number(final: object) -> int:
    assert isinstance(final, Succeeded), final
    return json.decode(final.values[0], type=int)


async def test_five_models_share_the_memory_of_two(
    gateway: FakeGateway, nats_url: str, settings: Settings, tmp_path: Path, heartbeats: Heartbeats
) -> None:
    """500 mixed predictions are all right, and resident memory stays under the cap all the time."""
    names = [model(tmp_path, f"m{n}", HEAVY.format(size=100 * MB, factor=n + 2)) for n in range(5)]
    cap = 340 * MB
    async with running_agent(
        settings, nats_url=nats_url, models=(str(tmp_path),), memory=str(cap), min_residency=0.2, turn_limit=2
    ):
        await gateway.wait_until(lambda: set(names) <= gateway.versions.keys())
        draw = random.Random(4)
        wanted = [(draw.randrange(5), n) for n in range(500)]
        finals: list[object] = []
        async with measured() as meter:
            for wave in (wanted[:250], wanted[250:]):
                ids = [await gateway.submit(f"m{which}", n=n) for which, n in wave]
                finals += [await gateway.final(id, within=60) for id in ids]
        assert [number(final) for final in finals] == [n * (which + 2) for which, n in wanted]
        assert 200 * MB < meter.peak < cap
        await eventually(lambda: heartbeats.last.counts.get("evictions", 0) >= 3)
        assert heartbeats.last.memory == cap
        assert heartbeats.last.counts["loads"] >= 5


async def test_a_leaking_worker_is_replaced_and_its_host_survives(
    gateway: FakeGateway,
    nats_url: str,
    settings: Settings,
    tmp_path: Path,
    heartbeats: Heartbeats,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """100 MB a call, in a host of 600: every call is answered, and the replacement is logged."""
    model(tmp_path, "leak", LEAK)
    cap = 600 * MB
    async with running_agent(settings, nats_url=nats_url, models=(str(tmp_path),), memory=str(cap)):
        await gateway.wait_until(lambda: "leak" in gateway.versions)
        async with measured() as meter:
            for n in range(24):
                assert number(await gateway.final(await gateway.submit("leak", n=n))) == n
        assert meter.peak < 1.05 * cap
        await eventually(
            lambda: heartbeats.last.counts.get("replaced", 0) + heartbeats.last.counts.get("killed", 0) >= 3
        )
    assert "a worker is replaced" in capsys.readouterr().out


async def test_a_call_that_allocates_too_much_fails_alone(
    gateway: FakeGateway, nats_url: str, settings: Settings, tmp_path: Path
) -> None:
    model(tmp_path, "greedy", GREEDY)
    async with running_agent(settings, nats_url=nats_url, models=(str(tmp_path),), memory=str(400 * MB)):
        await gateway.wait_until(lambda: "greedy" in gateway.versions)
        final = await gateway.final(await gateway.submit("greedy", n=3000 * MB))
        assert isinstance(final, Failed)
        assert "MemoryError" in final.error
        assert number(await gateway.final(await gateway.submit("greedy", n=1000))) == 1000


async def test_workers_are_preferred_by_the_oom_killer(
    gateway: FakeGateway, nats_url: str, settings: Settings, tmp_path: Path
) -> None:
    model(tmp_path, "greedy", GREEDY)
    async with running_agent(settings, nats_url=nats_url, models=(str(tmp_path),)):
        await gateway.wait_until(lambda: "greedy" in gateway.versions)
        await gateway.final(await gateway.submit("greedy", n=1))
        adjusted = Path(f"/proc/{worker_processes()[0].pid}/oom_score_adj")
        found = await asyncio.to_thread(adjusted.read_text)
        assert int(found) == int(memory.OOM_SCORE_ADJ)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere only a worker itself is weighed")
def test_without_a_rescan_only_known_processes_are_measured() -> None:
    with Popen([sys.executable, "-c", GROWS], stdin=PIPE, stdout=PIPE, start_new_session=True, text=True) as group:
        assert group.stdin
        assert group.stdout
        try:
            meter = memory.MemoryMeter()
            assert meter.measure({group.pid})[group.pid] < 64 * MB
            print(file=group.stdin, flush=True)
            assert group.stdout.readline() == "begun\n"
            assert meter.measure({group.pid}, rescan=False)[group.pid] < 64 * MB
            assert meter.measure({group.pid})[group.pid] > 64 * MB
            assert meter.measure({group.pid}, rescan=False)[group.pid] > 64 * MB
            assert meter.measure({group.pid, os.getpgrp()}, rescan=False)[os.getpgrp()] > 0, "a group that is new"
        finally:
            os.killpg(group.pid, signal.SIGKILL)


async def test_an_instance_without_room_on_its_device_is_parked_and_returns(
    gateway: FakeGateway, nats_url: str, settings: Settings, tmp_path: Path, heartbeats: Heartbeats
) -> None:
    """The processes stay, so no model is loaded again."""
    for n in range(2):
        model(tmp_path, f"m{n}", HEAVY.format(size=100 * MB, factor=n + 2))
    async with running_agent(
        settings, nats_url=nats_url, models=(str(tmp_path),), memory="400MB", device_memory="180MB", min_residency=0
    ):
        await gateway.wait_until(lambda: {"m0", "m1"} <= gateway.versions.keys())
        for n in range(6):
            assert number(await gateway.final(await gateway.submit(f"m{n % 2}", n=n))) == n * (n % 2 + 2)
        counts = {"loads": 2, "parks": 5, "unparks": 4, "evictions": 0}
        await eventually(lambda: heartbeats.last.counts | counts == heartbeats.last.counts)
        assert [(each.state, each.planned > 100 * MB) for each in heartbeats.last.residents] == [
            ("parked", True),
            ("hot", True),
        ]
        assert len(heartbeats.last.warm) == 1


SLOW = """
import os, time
class Predictor:
    def predict(self, n: int) -> str:
        time.sleep(0.1)
        return f"{os.getpid()} {sorted(os.sched_getaffinity(0))} {os.environ['OMP_NUM_THREADS']}"
"""


async def test_a_deep_queue_gets_another_instance_on_another_group_of_cores(
    gateway: FakeGateway, nats_url: str, settings: Settings, tmp_path: Path
) -> None:
    model(tmp_path, "slow", SLOW)
    async with running_agent(settings, nats_url=nats_url, models=(str(tmp_path),), cpu_devices=2):
        await gateway.wait_until(lambda: "slow" in gateway.versions)
        ids = [await gateway.submit("slow", n=n) for n in range(80)]
        finals = [await gateway.final(id, within=60) for id in ids]
    placed = {json.decode(final.values[0], type=str) for final in finals}
    assert len({each.partition(" ")[0] for each in placed}) == 2
    assert len({each.partition(" ")[2] for each in placed}) == 2, "cores of their own"
