"""More models than memory: five bundled models, room for two, 500 mixed predictions.

`python -m benchmarks.memory` starts a stack with a limit on the memory of all models together, and watches what its
workers really use. The same jobs then go, in the same order, through a plain round-robin with the same workers: two
are loaded, and the one loaded first makes room for the next that is needed.
"""

import argparse
import asyncio
import base64
import io
import os
import random
import sys
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import httpx
import psutil
from msgspec import Struct, json
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks import machine, processes
from benchmarks.machine import Machine
from benchmarks.stack import Stack, running_stack
from benchmarks.tables import machine_table
from benchmarks.texts import TEXTS
from runners.process import memory, worker_process
from runners.process.worker_process import WorkerProcess
from runners.settings import Settings
from runners.versions import introspection
from runners.versions.environments import Environment
from runners.versions.model_folder import read
from runners.worker.frames import Done, FromWorker, Item
from schemas.prediction import FINAL

HERE: Final = Path(__file__).parent
BUNDLED: Final = HERE.parent / "runners" / "models"
MB: Final = 1_000_000
MEMORY_LIMIT: Final = 1250 * MB
"""Memory for two of the larger models, but not for three."""
DEVICE_LIMIT: Final = 1000 * MB
"""The part of it that may be on the device; the rest is for parked models."""
CLIENTS: Final = 64
THREADS: Final = "1"


class Job(Struct, frozen=True):
    """One prediction to request."""

    model: str
    input: dict[str, Any]


class Durations(Struct, frozen=True, kw_only=True):
    """The count of an action, and the seconds that it took in all."""

    times: int = 0
    seconds: float = 0.0

    def add(self, seconds: float) -> "Durations":
        """Return the durations with one more."""
        return Durations(times=self.times + 1, seconds=self.seconds + seconds)


class Outcome(Struct, frozen=True, kw_only=True):
    """The outcome of one way of running the jobs."""

    what: str
    machine: Machine
    predictions: int
    wrong: int
    seconds: float
    most: int
    """The most resident bytes of all workers together."""
    loads: Durations
    parks: Durations
    unparks: Durations
    evictions: Durations


def main() -> None:
    """Run the jobs both ways, print the table, and fail on wrong answers or too much memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--predictions", type=int, default=500)
    parser.add_argument("--plain", type=int, default=100, help="predictions of the round-robin, the first so many")
    arguments = parser.parse_args()
    here = machine.describe_machine()
    jobs = draw_jobs(arguments.predictions, random.Random(4))
    outcomes = [
        asyncio.run(measure_samovar(jobs, here)),
        asyncio.run(measure_round_robin(jobs[: arguments.plain], here)),
    ]
    console = Console(width=None if sys.stdout.isatty() else 140)
    setting = machine_table(here)
    for table in (outcome_table(outcomes), setting):
        console.print(table)
    console.print(f"raw numbers: {_write_outcomes(outcomes)}", highlight=False)
    if any(outcome.wrong for outcome in outcomes) or outcomes[0].most > MEMORY_LIMIT:
        sys.exit("Some answers were wrong, or the workers used more memory than the limit.")


def draw_jobs(count: int, draw: random.Random) -> list[Job]:
    """Return jobs of all models in random order."""
    return [_job(draw.choice(MODELS), number, draw) for number in range(count)]


MODELS: Final = ("minilm", "classify", "emoji", "speak", "style-transfer")


def _job(model: str, number: int, draw: random.Random) -> Job:
    match model:
        case "minilm":
            return Job(model, {"text": TEXTS[number % len(TEXTS)]})
        case "emoji":
            return Job(model, {"prompt": "red apple", "seed": number, "steps": 4, "size": 32})
        case "speak":
            return Job(model, {"text": "The tea is ready."})
        case "classify":
            return Job(model, {"image": _picture(draw), "top_k": 3})
        case _:
            return Job(model, {"image": _picture(draw), "style": number % 26})


def _picture(draw: random.Random) -> str:
    picture = Image.new("RGB", (96, 96), (draw.randrange(256), draw.randrange(256), draw.randrange(256)))
    content = io.BytesIO()
    picture.save(content, "PNG")
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()


def is_right(model: str, output: Any) -> bool:
    """Return whether the output is a whole answer of this model."""
    match model:
        case "minilm":
            return len(output) == 384 and abs(sum(value * value for value in output) - 1) < 1e-3
        case "emoji":
            return len(output) == 4
        case "classify":
            return len(output) == 3 and all(each["label"] for each in output)
        case _:
            return bool(output)


async def measure_samovar(jobs: list[Job], here: Machine) -> Outcome:
    """Run the jobs through Samovar."""
    environ = {
        "SAMOVAR_MEMORY": str(MEMORY_LIMIT),
        "SAMOVAR_DEVICE_MEMORY": str(DEVICE_LIMIT),
        "SAMOVAR_THREADS": THREADS,
    }
    with running_stack(environ=environ) as stack:
        async with _watch_memory(lambda: [each.pid for each in processes.find(stack, "worker")]) as peak:
            began = time.monotonic()
            wrong = await _count_wrong(stack, jobs)
            seconds = time.monotonic() - began
        durations = _read_durations(stack)
    return Outcome(
        what="Samovar", machine=here, predictions=len(jobs), wrong=wrong, seconds=seconds, most=peak.bytes, **durations
    )


async def _count_wrong(stack: Stack, jobs: list[Job]) -> int:
    """Return how many jobs were not answered correctly."""
    slots = asyncio.Semaphore(CLIENTS)
    async with httpx.AsyncClient(base_url=stack.url, headers=stack.headers, timeout=65) as http:

        async def one(job: Job) -> bool:
            async with slots:
                url = f"/v1/models/samovar/{job.model}/predictions"
                answer = await http.post(url, json={"input": job.input}, headers={"Prefer": "wait"})
                prediction: dict[str, Any] = answer.json()
                while prediction["status"] not in FINAL:
                    await asyncio.sleep(0.1)
                    prediction = (await http.get(f"/v1/predictions/{prediction['id']}")).json()
                good = prediction["status"] == "succeeded" and is_right(job.model, prediction["output"])
                if not good:
                    print(job.model, prediction["status"], prediction["error"], file=sys.stderr)
                return good

        return len(jobs) - sum(await asyncio.gather(*map(one, jobs)))


def _read_durations(stack: Stack) -> dict[str, Durations]:
    """Return what the runner logged."""
    durations = {"loads": Durations(), "parks": Durations(), "unparks": Durations(), "evictions": Durations()}
    loading: dict[str, float] = {}
    for text in (stack.data_dir / "logs" / "runner.log").read_bytes().splitlines():
        if not text.startswith(b"{"):
            continue
        line: dict[str, Any] = json.decode(text)
        at = datetime.fromisoformat(line["timestamp"]).timestamp()
        match line["event"]:
            case "loading":
                loading[line["model"]] = at
            case "loaded":
                durations["loads"] = durations["loads"].add(at - loading[line["model"]])
            case "parked" | "unparked" | "evicted":
                name = {"parked": "parks", "unparked": "unparks", "evicted": "evictions"}[line["event"]]
                durations[name] = durations[name].add(line["seconds"])
            case _:
                pass
    return durations


class RoundRobin:
    """Two workers; the one that was loaded first makes room for the next that is needed."""

    def __init__(self) -> None:
        self.workers: deque[tuple[str, WorkerProcess]] = deque()
        self.loads = self.evictions = Durations()
        self._answers: asyncio.Queue[Done] = asyncio.Queue()

    async def run(self, job: Job) -> Any:
        """Run a job, and return its status and value."""
        worker = next((worker for model, worker in self.workers if model == job.model), None)
        if worker is None:
            if len(self.workers) == 2:
                await self.end_oldest()
            worker = await self._load(job.model)
        worker.run([Item("job", json.encode(job.input))])
        done = await self._answers.get()
        return (done.status, done.value)

    async def end_oldest(self) -> None:
        """End the worker that was loaded first."""
        began = time.monotonic()
        await self.workers.popleft()[1].shut_down()
        self.evictions = self.evictions.add(time.monotonic() - began)

    async def _load(self, model: str) -> WorkerProcess:
        began = time.monotonic()
        program = introspection.build_program(
            read(BUNDLED / model), Environment(Path(sys.executable), None), Settings()
        )
        worker = await worker_process.start_worker(program, self._on_frame)
        await worker.wait_ready(120)
        self.loads = self.loads.add(time.monotonic() - began)
        self.workers.append((model, worker))
        return worker

    def _on_frame(self, frame: FromWorker) -> None:
        if isinstance(frame, Done):
            self._answers.put_nowait(frame)


async def measure_round_robin(jobs: list[Job], here: Machine) -> Outcome:
    """Run the jobs through a round-robin."""
    os.environ |= {"OMP_NUM_THREADS": THREADS, "OMP_WAIT_POLICY": "PASSIVE"}
    robin = RoundRobin()
    wrong = 0
    async with _watch_memory(lambda: [worker.pid for _, worker in robin.workers]) as peak:
        began = time.monotonic()
        for job in jobs:
            status, _ = await robin.run(job)
            wrong += status != "ok"
        seconds = time.monotonic() - began
        while robin.workers:
            await robin.end_oldest()
    return Outcome(
        what="round-robin",
        machine=here,
        predictions=len(jobs),
        wrong=wrong,
        seconds=seconds,
        most=peak.bytes,
        loads=robin.loads,
        parks=Durations(),
        unparks=Durations(),
        evictions=robin.evictions,
    )


class PeakMemory:
    """The most memory that workers had together."""

    bytes = 0


@asynccontextmanager
async def _watch_memory(pids: Callable[[], list[int]]) -> AsyncGenerator[PeakMemory]:
    """Watch the memory of processes ten times a second, independently of the runner."""
    peak = PeakMemory()

    async def watch() -> None:
        while True:
            with suppress(psutil.Error):
                peak.bytes = max(peak.bytes, sum(memory.resident_bytes(pids()).values()))
            await asyncio.sleep(0.1)

    task = asyncio.create_task(watch())
    try:
        yield peak
    finally:
        task.cancel()
        await asyncio.wait([task])


def outcome_table(outcomes: list[Outcome]) -> Table:
    """Return the table of outcomes."""
    table = Table("", *(f"{outcome.what}, {outcome.predictions} predictions" for outcome in outcomes))

    def row(name: str, cell: Callable[[Outcome], str]) -> None:
        table.add_row(name, *(cell(outcome) for outcome in outcomes))

    row("wrong or failed", lambda each: str(each.wrong))
    row("seconds", lambda each: f"{each.seconds:.1f}")
    row("seconds per 100 predictions", lambda each: f"{100 * each.seconds / each.predictions:.1f}")
    row("loads (seconds each)", lambda each: _format_durations(each.loads))
    row("parks", lambda each: _format_durations(each.parks))
    row("unparks", lambda each: _format_durations(each.unparks))
    row("evictions", lambda each: _format_durations(each.evictions))
    row(f"resident at most, MB (cap {MEMORY_LIMIT // MB})", lambda each: f"{each.most / MB:.0f}")
    return table


def _format_durations(took: Durations) -> str:
    return f"{took.times} ({took.seconds / took.times:.2f})" if took.times else "0"


def _write_outcomes(outcomes: list[Outcome]) -> Path:
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    path = results / f"memory-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.jsonl"
    path.write_bytes(b"".join(json.encode(one) + b"\n" for one in outcomes))
    return path


if __name__ == "__main__":
    main()
