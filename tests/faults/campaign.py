"""The fault campaign: predictions in flight all the time while everything is killed in turn, then the reckoning.

By hand: `python -m tests.faults.campaign --rounds 2 --seed 7`.
"""

import argparse
import asyncio
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from msgspec import Struct

from benchmarks.stack import Stack, is_ready, running
from tests.faults import checker, record
from tests.faults.checker import FINAL, Finding
from tests.faults.client import Client, Refusal
from tests.faults.faults import Fault, schedule
from tests.faults.history import Killed, Log

IN_FLIGHT = 100
BETWEEN = 60  # predictions that must end between two faults
PATIENCE = 180.0  # seconds for anything to come right again
TIMEOUT = httpx.Timeout(65, connect=5)
PROBES: dict[str, dict[str, Any]] = {
    "samovar/hello-world": {"text": "probe"},
    "samovar/count": {"n": 3},
    "samovar/minilm": {"text": "probe"},
}


class Recovery(Struct, frozen=True):
    what: str
    detail: str
    ready: float
    """Seconds until `/readyz` said yes."""
    flowing: float
    """Seconds until a new prediction of every model had come through."""

    def __str__(self) -> str:
        return f"  {self.what:16} ready {self.ready:6.2f} s   flowing {self.flowing:6.2f} s   {self.detail}"


class Report(Struct, frozen=True):
    seed: int
    seconds: float
    recoveries: list[Recovery]
    tally: Counter[str]
    findings: list[Finding]
    history: Path

    def __str__(self) -> str:
        ended = sum(count for what, count in self.tally.items() if what.endswith(tuple(FINAL)))
        lines = [f"seed {self.seed}: {ended} predictions in {self.seconds:.0f} s; history in {self.history}"]
        lines += [
            f"  {r.what:16} ready {r.ready:6.2f} s   flowing {r.flowing:6.2f} s   {r.detail}" for r in self.recoveries
        ]
        lines += [f"  {count:6}  {what}" for what, count in sorted(self.tally.items())]
        return "\n".join([*lines, checker.report(self.findings)])


class Campaign:
    def __init__(self, stack: Stack, history: Path, seed: int) -> None:
        self._stack = stack
        self._seed = seed
        self._rng = random.Random(seed)
        self._path = history
        self._log = Log(history)
        self._tally: Counter[str] = Counter()
        self._ended = 0
        self._progress = asyncio.Condition()
        self._closing = asyncio.Event()

    async def run(self, rounds: int) -> Report:
        begun = time.monotonic()
        recoveries: list[Recovery] = []
        async with self._http() as http:
            self._probe = self._client("probe", http)
            await self._flowing()
            async with self._load(http):
                for what, fault in schedule(rounds, self._rng):
                    await self._more(BETWEEN)
                    recoveries.append(await self._strike(what, fault))
                await self._more(BETWEEN)
            await self._settled()
            await self._read_record(http)
        self._log.close()
        findings = checker.check(self._log.lines)
        return Report(self._seed, time.monotonic() - begun, recoveries, self._tally, findings, self._path)

    @asynccontextmanager
    async def _http(self) -> AsyncGenerator[httpx.AsyncClient]:
        limits = httpx.Limits(max_connections=2 * IN_FLIGHT + 10)
        async with httpx.AsyncClient(
            base_url=self._stack.url, headers=self._stack.headers, timeout=TIMEOUT, limits=limits
        ) as http:
            yield http

    def _client(self, name: str, http: httpx.AsyncClient) -> Client:
        return Client(name, http, self._log, random.Random(f"{self._seed}/{name}"), self._tally)

    @asynccontextmanager
    async def _load(self, http: httpx.AsyncClient) -> AsyncGenerator[None]:
        """Keeps predictions in flight; on leaving, lets every one of them come to its end."""
        try:
            async with asyncio.timeout(None) as limit, asyncio.TaskGroup() as clients:
                for number in range(IN_FLIGHT):
                    clients.create_task(self._want(f"client-{number}", http))
                yield
                self._closing.set()
                limit.reschedule(asyncio.get_running_loop().time() + PATIENCE)
        except TimeoutError:
            # The record and the open streams tell what is missing. (What goes wrong inside comes as a group.)
            self._tally["clients that never ended"] += 1

    async def _want(self, name: str, http: httpx.AsyncClient) -> None:
        """One prediction after the other until the campaign closes."""
        rng, client = random.Random(f"{self._seed}/{name}/wishes"), self._client(name, http)
        while not self._closing.is_set():
            model, wish, how = _wish(rng)
            try:
                await client.predict(model, wish, how)
            except Refusal:
                await client.pause()
                continue
            async with self._progress:
                self._ended += 1
                self._progress.notify_all()

    async def _more(self, count: int) -> None:
        goal = self._ended + count
        async with asyncio.timeout(PATIENCE), self._progress:
            await self._progress.wait_for(lambda: self._ended >= goal)

    async def _strike(self, what: str, fault: Fault) -> Recovery:
        print(f"{what}: ", end="", flush=True)
        at = time.monotonic()
        detail = await asyncio.to_thread(fault, self._stack, self._rng)
        struck = time.monotonic()
        await self._ready()
        ready = time.monotonic() - struck
        await self._flowing()
        flowing = time.monotonic() - struck
        self._log.say(Killed(client="campaign", at=at, what=what, recovered_at=struck + flowing))
        print(f"{detail}, ready after {ready:.2f} s, flowing after {flowing:.2f} s", flush=True)
        return Recovery(what, detail, ready, flowing)

    async def _ready(self) -> None:
        async with asyncio.timeout(PATIENCE):
            while not await asyncio.to_thread(is_ready, self._stack.url):
                assert self._stack.up.is_running(), self._stack.last_words()
                await asyncio.sleep(0.02)

    async def _flowing(self) -> None:
        """Every model answers something that was asked after now."""
        for model, wish in PROBES.items():
            async with asyncio.timeout(PATIENCE):
                await self._probed(model, wish)

    async def _probed(self, model: str, wish: dict[str, Any]) -> None:
        while True:
            try:
                await self._probe.predict(model, wish, "sync")
            except Refusal:
                await self._probe.pause()
            else:
                return

    async def _settled(self) -> None:
        """Also those whose create was never answered come to an end; if not, the checker says which."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while await record.unfinished(self._stack):  # noqa: ASYNC110 - no event tells that the table is quiet
                    await asyncio.sleep(0.5)

    async def _read_record(self, http: httpx.AsyncClient) -> None:
        async for row in record.by_api(http):
            self._log.say(row)
        async for row in record.by_row(self._stack):
            self._log.say(row)


def _wish(rng: random.Random) -> tuple[str, dict[str, Any], str]:
    how = rng.choice(["sync", "async", "stream"])
    if how != "stream" and rng.random() < 0.4:
        return "samovar/minilm", {"text": f"sentence {rng.randrange(1_000_000)}"}, how
    return "samovar/count", {"n": rng.randrange(40), "delay": rng.choice([0, 0, 0.001, 0.01])}, how


async def run(rounds: int, seed: int, folder: Path) -> Report:
    """On a stack of its own; the history and all logs stay in `folder`."""
    with running() as stack:
        try:
            return await Campaign(stack, folder / f"history-{seed}.jsonl", seed).run(rounds)
        except BaseException:
            print(f"\nseed {seed}, history in {folder}")
            raise
        finally:
            shutil.copytree(stack.data_dir / "logs", folder / "logs", dirs_exist_ok=True)
            shutil.copy(stack.log, folder / "logs" / "up.log")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1, help="how often everything is killed")
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED", random.randrange(10_000))))
    chosen = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="campaign-"))
    report = asyncio.run(run(chosen.rounds, chosen.seed, folder))
    print(report)
    return bool(report.findings)


if __name__ == "__main__":
    sys.exit(main())
