"""The fault campaign: every process is killed in turn while predictions run, then a checker reads the history.

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

from benchmarks.stack import Stack, is_ready, running_stack
from tests.faults import checker, record
from tests.faults.checker import FINAL, Finding
from tests.faults.client import CampaignClient, CreateFailed
from tests.faults.faults import Fault, schedule
from tests.faults.history import FaultInjected, HistoryLog

CLIENTS = 100
PREDICTIONS_BETWEEN_FAULTS = 60  # that must end
RECOVERY_TIMEOUT = 180.0  # seconds
TIMEOUT = httpx.Timeout(65, connect=5)
PROBES: dict[str, dict[str, Any]] = {
    "samovar/hello-world": {"text": "probe"},
    "samovar/count": {"n": 3},
    "samovar/minilm": {"text": "probe"},
}


class Recovery(Struct, frozen=True):
    """How long the stack took to recover from a fault."""

    fault: str
    detail: str
    ready: float
    """Seconds until `/readyz` reported ready."""
    all_models: float
    """Seconds until a new prediction of every model had ended."""

    def __str__(self) -> str:
        return f"  {self.fault:16} ready {self.ready:6.2f} s   flowing {self.all_models:6.2f} s   {self.detail}"


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
            f"  {r.fault:16} ready {r.ready:6.2f} s   flowing {r.all_models:6.2f} s   {r.detail}"
            for r in self.recoveries
        ]
        lines += [f"  {count:6}  {what}" for what, count in sorted(self.tally.items())]
        return "\n".join([*lines, checker.format_report(self.findings)])


class Campaign:
    """One run of the campaign on one stack: its clients, its faults, and its history."""

    def __init__(self, stack: Stack, history: Path, seed: int) -> None:
        self._stack = stack
        self._seed = seed
        self._rng = random.Random(seed)
        self._path = history
        self._log = HistoryLog(history)
        self._tally: Counter[str] = Counter()
        self._ended = 0
        self._progress = asyncio.Condition()
        self._closing = asyncio.Event()

    async def run(self, rounds: int) -> Report:
        started_at = time.monotonic()
        recoveries: list[Recovery] = []
        async with self._open_http() as http:
            self._probe = self._client("probe", http)
            await self._wait_for_all_models()
            async with self._keep_load(http):
                for what, fault in schedule(rounds, self._rng):
                    await self._wait_for_predictions(PREDICTIONS_BETWEEN_FAULTS)
                    recoveries.append(await self._inject_fault(what, fault))
                await self._wait_for_predictions(PREDICTIONS_BETWEEN_FAULTS)
            await self._wait_until_settled()
            await self._read_record(http)
        self._log.close()
        findings = checker.check(self._log.lines)
        return Report(self._seed, time.monotonic() - started_at, recoveries, self._tally, findings, self._path)

    @asynccontextmanager
    async def _open_http(self) -> AsyncGenerator[httpx.AsyncClient]:
        limits = httpx.Limits(max_connections=2 * CLIENTS + 10)
        async with httpx.AsyncClient(
            base_url=self._stack.url, headers=self._stack.headers, timeout=TIMEOUT, limits=limits
        ) as http:
            yield http

    def _client(self, name: str, http: httpx.AsyncClient) -> CampaignClient:
        return CampaignClient(name, http, self._log, random.Random(f"{self._seed}/{name}"), self._tally)

    @asynccontextmanager
    async def _keep_load(self, http: httpx.AsyncClient) -> AsyncGenerator[None]:
        """Keep predictions in flight inside the block; on leaving, wait until all of them have ended."""
        try:
            async with asyncio.timeout(None) as limit, asyncio.TaskGroup() as clients:
                for number in range(CLIENTS):
                    clients.create_task(self._run_client(f"client-{number}", http))
                yield
                self._closing.set()
                limit.reschedule(asyncio.get_running_loop().time() + RECOVERY_TIMEOUT)
        except TimeoutError:
            # The record and the open streams show what is missing. (Errors inside come as a group.)
            self._tally["clients that never ended"] += 1

    async def _run_client(self, name: str, http: httpx.AsyncClient) -> None:
        """Create one prediction after another until the campaign closes."""
        rng, client = random.Random(f"{self._seed}/{name}/wishes"), self._client(name, http)
        while not self._closing.is_set():
            model, input, how = _draw_request(rng)
            try:
                await client.predict(model, input, how)
            except CreateFailed:
                await client.pause()
                continue
            async with self._progress:
                self._ended += 1
                self._progress.notify_all()

    async def _wait_for_predictions(self, count: int) -> None:
        goal = self._ended + count
        async with asyncio.timeout(RECOVERY_TIMEOUT), self._progress:
            await self._progress.wait_for(lambda: self._ended >= goal)

    async def _inject_fault(self, what: str, fault: Fault) -> Recovery:
        print(f"{what}: ", end="", flush=True)
        at = time.monotonic()
        detail = await asyncio.to_thread(fault, self._stack, self._rng)
        struck = time.monotonic()
        await self._wait_until_ready()
        ready = time.monotonic() - struck
        await self._wait_for_all_models()
        flowing = time.monotonic() - struck
        self._log.append(FaultInjected(client="campaign", at=at, what=what, recovered_at=struck + flowing))
        print(f"{detail}, ready after {ready:.2f} s, flowing after {flowing:.2f} s", flush=True)
        return Recovery(what, detail, ready, flowing)

    async def _wait_until_ready(self) -> None:
        async with asyncio.timeout(RECOVERY_TIMEOUT):
            while not await asyncio.to_thread(is_ready, self._stack.url):
                assert self._stack.up.is_running(), self._stack.last_words()
                await asyncio.sleep(0.02)

    async def _wait_for_all_models(self) -> None:
        """Wait until every model has answered a prediction that was created after now."""
        for model, input in PROBES.items():
            async with asyncio.timeout(RECOVERY_TIMEOUT):
                await self._probe_model(model, input)

    async def _probe_model(self, model: str, input: dict[str, Any]) -> None:
        while True:
            try:
                await self._probe.predict(model, input, "sync")
            except CreateFailed:
                await self._probe.pause()
            else:
                return

    async def _wait_until_settled(self) -> None:
        """Wait until all predictions are final, even those whose create got no response; the checker names the rest."""
        with suppress(TimeoutError):
            async with asyncio.timeout(RECOVERY_TIMEOUT):
                while await record.count_unfinished(self._stack):  # noqa: ASYNC110 - no event tells that the table is quiet
                    await asyncio.sleep(0.5)

    async def _read_record(self, http: httpx.AsyncClient) -> None:
        async for row in record.read_api(http):
            self._log.append(row)
        async for row in record.read_rows(self._stack):
            self._log.append(row)


def _draw_request(rng: random.Random) -> tuple[str, dict[str, Any], str]:
    how = rng.choice(["sync", "async", "stream"])
    if how != "stream" and rng.random() < 0.4:
        return "samovar/minilm", {"text": f"sentence {rng.randrange(1_000_000)}"}, how
    return "samovar/count", {"n": rng.randrange(40), "delay": rng.choice([0, 0, 0.001, 0.01])}, how


async def run(rounds: int, seed: int, folder: Path) -> Report:
    """Run a campaign on its own stack. The history and all logs stay in `folder`."""
    with running_stack() as stack:
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
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="campaign-"))
    report = asyncio.run(run(arguments.rounds, arguments.seed, folder))
    print(report)
    return bool(report.findings)


if __name__ == "__main__":
    sys.exit(main())
