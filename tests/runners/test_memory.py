"""Memory, as it is shared out among real workers: the cap holds, and whoever leaks is replaced."""

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
from schemas.models import Presence, decode_presence
from tests.runners.conftest import Front, eventually, running, workers

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


class Scale:
    """What all workers have together, looked at by somebody else than the agent."""

    def __init__(self) -> None:
        self.most = 0

    async def watch(self) -> None:
        while True:
            self.most = max(self.most, sum(memory.resident([worker.pid for worker in workers()]).values()))
            await asyncio.sleep(0.01)


@asynccontextmanager
async def weighed() -> AsyncGenerator[Scale]:
    scale = Scale()
    task = asyncio.create_task(scale.watch())
    try:
        yield scale
    finally:
        task.cancel()
        await asyncio.wait([task])


class Presences:
    """What agents say of themselves."""

    def __init__(self) -> None:
        self.last = Presence(agent="", host="", pool="", versions=[], warm=[])

    async def heard(self, msg: Any) -> None:
        self.last = decode_presence(msg.data)


@pytest.fixture
async def said(nc: Client) -> Presences:
    presences = Presences()
    await nc.subscribe(subjects.PRESENCE, cb=presences.heard)
    return presences


def number(final: object) -> int:
    assert isinstance(final, Succeeded), final
    return json.decode(final.values[0], type=int)


async def test_five_models_share_the_memory_of_two(
    front: Front, nats_url: str, settings: Settings, tmp_path: Path, said: Presences
) -> None:
    """500 mixed predictions are all right, and resident memory stays under the cap all the time."""
    names = [model(tmp_path, f"m{n}", HEAVY.format(size=100 * MB, factor=n + 2)) for n in range(5)]
    cap = 340 * MB
    async with running(
        settings, nats_url=nats_url, models=(str(tmp_path),), memory=str(cap), min_residency=0.2, turn_limit=2
    ):
        await front.until(lambda: set(names) <= front.offers.keys())
        draw = random.Random(4)
        wanted = [(draw.randrange(5), n) for n in range(500)]
        finals: list[object] = []
        async with weighed() as scale:
            for wave in (wanted[:250], wanted[250:]):
                ids = [await front.submit(f"m{which}", n=n) for which, n in wave]
                finals += [await front.final(id, within=60) for id in ids]
        assert [number(final) for final in finals] == [n * (which + 2) for which, n in wanted]
        assert 200 * MB < scale.most < cap
        await eventually(lambda: said.last.counts.get("evictions", 0) >= 3)
        assert said.last.memory == cap
        assert said.last.counts["loads"] >= 5


async def test_what_leaks_is_replaced_and_its_host_survives(
    front: Front, nats_url: str, settings: Settings, tmp_path: Path, said: Presences, capsys: pytest.CaptureFixture[str]
) -> None:
    """100 MB a call, in a host of 600: every call is answered, and it is said what was done."""
    model(tmp_path, "leak", LEAK)
    cap = 600 * MB
    async with running(settings, nats_url=nats_url, models=(str(tmp_path),), memory=str(cap)):
        await front.until(lambda: "leak" in front.offers)
        async with weighed() as scale:
            for n in range(24):
                assert number(await front.final(await front.submit("leak", n=n))) == n
        assert scale.most < 1.05 * cap
        await eventually(lambda: said.last.counts.get("replaced", 0) + said.last.counts.get("killed", 0) >= 3)
    assert "a worker is replaced" in capsys.readouterr().out


async def test_what_asks_for_too_much_at_once_fails_alone(
    front: Front, nats_url: str, settings: Settings, tmp_path: Path
) -> None:
    model(tmp_path, "greedy", GREEDY)
    async with running(settings, nats_url=nats_url, models=(str(tmp_path),), memory=str(400 * MB)):
        await front.until(lambda: "greedy" in front.offers)
        final = await front.final(await front.submit("greedy", n=3000 * MB))
        assert isinstance(final, Failed)
        assert "MemoryError" in final.error
        assert number(await front.final(await front.submit("greedy", n=1000))) == 1000


async def test_a_worker_is_the_first_that_the_system_ends(
    front: Front, nats_url: str, settings: Settings, tmp_path: Path
) -> None:
    model(tmp_path, "greedy", GREEDY)
    async with running(settings, nats_url=nats_url, models=(str(tmp_path),)):
        await front.until(lambda: "greedy" in front.offers)
        await front.final(await front.submit("greedy", n=1))
        adjusted = Path(f"/proc/{workers()[0].pid}/oom_score_adj")
        found = await asyncio.to_thread(adjusted.read_text)
        assert int(found) == int(memory.EXPENDABLE)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere only a worker itself is weighed")
def test_between_two_full_looks_only_processes_are_weighed_that_were_seen() -> None:
    with Popen([sys.executable, "-c", GROWS], stdin=PIPE, stdout=PIPE, start_new_session=True, text=True) as group:
        assert group.stdin
        assert group.stdout
        try:
            scale = memory.Scale()
            assert scale.weigh({group.pid})[group.pid] < 64 * MB
            print(file=group.stdin, flush=True)
            assert group.stdout.readline() == "begun\n"
            assert scale.weigh({group.pid}, anew=False)[group.pid] < 64 * MB
            assert scale.weigh({group.pid})[group.pid] > 64 * MB
            assert scale.weigh({group.pid}, anew=False)[group.pid] > 64 * MB
            assert scale.weigh({group.pid, os.getpgrp()}, anew=False)[os.getpgrp()] > 0, "a group that is new"
        finally:
            os.killpg(group.pid, signal.SIGKILL)


async def test_who_has_no_room_on_the_device_is_parked_and_comes_back(
    front: Front, nats_url: str, settings: Settings, tmp_path: Path, said: Presences
) -> None:
    """The processes stay, so nothing is loaded a second time."""
    for n in range(2):
        model(tmp_path, f"m{n}", HEAVY.format(size=100 * MB, factor=n + 2))
    async with running(
        settings, nats_url=nats_url, models=(str(tmp_path),), memory="400MB", device_memory="180MB", min_residency=0
    ):
        await front.until(lambda: {"m0", "m1"} <= front.offers.keys())
        for n in range(6):
            assert number(await front.final(await front.submit(f"m{n % 2}", n=n))) == n * (n % 2 + 2)
        counts = {"loads": 2, "parks": 5, "unparks": 4, "evictions": 0}
        await eventually(lambda: said.last.counts | counts == said.last.counts)
        assert [(each.state, each.planned > 100 * MB) for each in said.last.residents] == [
            ("parked", True),
            ("hot", True),
        ]
        assert len(said.last.warm) == 1


SLOW = """
import os, time
class Predictor:
    def predict(self, n: int) -> str:
        time.sleep(0.1)
        return f"{os.getpid()} {sorted(os.sched_getaffinity(0))} {os.environ['OMP_NUM_THREADS']}"
"""


async def test_a_deep_queue_gets_another_instance_on_another_group_of_cores(
    front: Front, nats_url: str, settings: Settings, tmp_path: Path
) -> None:
    model(tmp_path, "slow", SLOW)
    async with running(settings, nats_url=nats_url, models=(str(tmp_path),), cpu_devices=2):
        await front.until(lambda: "slow" in front.offers)
        ids = [await front.submit("slow", n=n) for n in range(80)]
        finals = [await front.final(id, within=60) for id in ids]
    placed = {json.decode(final.values[0], type=str) for final in finals}
    assert len({each.partition(" ")[0] for each in placed}) == 2
    assert len({each.partition(" ")[2] for each in placed}) == 2, "cores of their own"
