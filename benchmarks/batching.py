"""What is left of a bare loop once everything of ours is around it: minilm by 64 clients, and by one.

`python -m benchmarks.batching` starts a stack of its own. In each repeat the same model runs in a bare loop, in a
process of its own with as many threads as a worker gets, and then behind the gateway. Prints ratios, keeps raw numbers.
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import httpx
import uvloop
from msgspec import Struct, json
from rich.console import Console
from rich.table import Table

from benchmarks import machine, wire
from benchmarks.machine import Machine
from benchmarks.stack import Stack, running
from benchmarks.table import setting
from benchmarks.texts import TEXTS
from benchmarks.wire import Address, Connection

HERE: Final = Path(__file__).parent
MODEL: Final = "minilm-counted"
BATCH: Final = 32
ALLOCATOR: Final = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(64 << 20)}
"""What a worker sets by mallopt(3)."""
AIMS: Final = {64: 0.90, 1: 0.75}


class Load(Struct, frozen=True, kw_only=True):
    """What clients got that ask again as soon as they are answered."""

    clients: int
    seconds: float
    latencies: list[int]
    """Microseconds, each."""
    batches: float
    """As the sizes that the answers tell add up to: a batch of n is told n times."""
    passes: int
    """Forward passes, as the model counted them."""
    wrong: int

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds


class Repeat(Struct, frozen=True, kw_only=True):
    machine: Machine
    threads: int
    bare: dict[str, float]
    """Texts per second in a bare loop, by batch size; its allocator keeps what is freed, as a worker's does."""
    bare_untuned: dict[str, float]
    """The same with the allocator as it comes."""
    bare_all_cores: dict[str, float]
    """The same with as many threads as there are cores, which leaves none to anything else."""
    loads: list[Load]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--threads", type=int, help="that a worker computes with, and the bare loop, too")
    chosen = parser.parse_args()
    here = machine.describe()
    console = Console(width=None if sys.stdout.isatty() else 140)
    repeats: list[Repeat] = []
    environ = {"SAMOVAR_BUNDLED": "false", **({"SAMOVAR_THREADS": str(chosen.threads)} if chosen.threads else {})}
    with running(models=[HERE / "models"], environ=environ) as stack:
        uvloop.run(load(stack, 64, 3.0))  # it is loaded, and what happens once has happened
        threads = chosen.threads or _threads(stack)
        for number in range(chosen.repeats):
            repeat = Repeat(
                machine=here,
                threads=threads,
                bare=_bare(threads, chosen.seconds, ALLOCATOR),
                bare_untuned=_bare(threads, chosen.seconds),
                bare_all_cores=_bare(here.cores, chosen.seconds, ALLOCATOR),
                loads=[uvloop.run(load(stack, clients, chosen.seconds)) for clients in AIMS],
            )
            repeats.append(repeat)
            told = ", ".join(f"{each.clients} clients {each.rate:.0f}/s" for each in repeat.loads)
            console.print(f"  {number + 1}: bare {repeat.bare['32']:.0f}/s and {repeat.bare['1']:.0f}/s; {told}")
    about = setting(here)
    for table in (ratios(repeats), about):
        console.print(table)
    console.print(f"raw numbers: {_keep(repeats)}", highlight=False)
    if any(each.wrong for repeat in repeats for each in repeat.loads):
        sys.exit("some answers were wrong")


def ratios(repeats: list[Repeat]) -> Table:
    table = Table(
        "minilm",
        "texts/s",
        "bare loop",
        "ratio",
        "least",
        "most",
        "aim",
        "met",
        "untuned",
        "all cores",
        "batches",
        "passes",
    )
    for index, (clients, aim) in enumerate(AIMS.items()):
        size = str(BATCH if clients > 1 else 1)
        loads = [repeat.loads[index] for repeat in repeats]
        shares = [each.rate / repeat.bare[size] for each, repeat in zip(loads, repeats, strict=True)]
        untuned = statistics.median(
            each.rate / repeat.bare_untuned[size] for each, repeat in zip(loads, repeats, strict=True)
        )
        whole = statistics.median(
            each.rate / repeat.bare_all_cores[size] for each, repeat in zip(loads, repeats, strict=True)
        )
        share = statistics.median(shares)
        table.add_row(
            f"{clients} client{'s' * (clients > 1)}, batches of {size}",
            f"{statistics.median(each.rate for each in loads):.0f}",
            f"{statistics.median(repeat.bare[size] for repeat in repeats):.0f}",
            *(f"{value:.2f}" for value in (share, min(shares), max(shares))),
            f"≥ {aim:.2f}",
            "yes" if share >= aim else "no",
            f"{untuned:.2f}",
            f"{whole:.2f}",
            f"{sum(each.batches for each in loads):.0f}",
            str(sum(each.passes for each in loads)),
        )
    return table


async def load(stack: Stack, clients: int, seconds: float) -> Load:
    path = f"/v1/models/samovar/{MODEL}/predictions"
    address = Address.of(stack.url)
    connections = [await Connection.open(address) for _ in range(clients)]
    latencies: list[int] = []
    answers: list[wire.Answer] = []

    async def one(connection: Connection, first: int, until: float) -> None:
        text = first
        while (begun := time.perf_counter()) < until:
            body = json.encode({"input": {"text": TEXTS[text % len(TEXTS)]}})
            answers.append(await connection.ask(wire.post(address, path, body, stack.token, "prefer: wait")))
            latencies.append(round((time.perf_counter() - begun) * 1e6))
            text += clients

    begun = time.perf_counter()
    await asyncio.gather(*(one(each, number, begun + seconds) for number, each in enumerate(connections)))
    took = time.perf_counter() - begun
    for connection in connections:
        connection.close()
    predictions: list[dict[str, Any]] = [json.decode(answer.body) for answer in answers if answer.status == 201]
    good = [each for each in predictions if each["status"] == "succeeded" and len(each["output"]) == 384]
    return Load(
        clients=clients,
        seconds=took,
        latencies=latencies,
        batches=sum(1 / each["metrics"]["batch_size"] for each in good),
        passes=len({each["metrics"]["forward_pass"] for each in good}),
        wrong=len(answers) - len(good),
    )


def _threads(stack: Stack) -> int:
    """That the runner gives a worker here: what it says of its devices."""
    answer = httpx.get(f"{stack.url}/v1/runners", headers=stack.headers)
    cores = answer.json()["runners"][0]["devices"][0]["cores"]
    return max(1, cores - 1)


def _bare(threads: int, seconds: float, allocator: Mapping[str, str] = {}) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.bare", str(HERE / "models" / MODEL), "--seconds", str(seconds)]
    env = {**os.environ, **allocator, "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}
    return json.decode(subprocess.run(command, env=env, stdout=subprocess.PIPE, check=True).stdout)


def _keep(repeats: list[Repeat]) -> Path:
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    path = results / f"batching-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.jsonl"
    path.write_bytes(b"".join(json.encode(one) + b"\n" for one in repeats))
    return path


if __name__ == "__main__":
    main()
