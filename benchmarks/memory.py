"""More models than memory: five of the bundled ones, room for two, 500 mixed predictions.

`python -m benchmarks.memory` starts a stack of its own with a cap on what models may have together, and looks at what
its workers really have all the time. The same jobs then go, in the order in which they came, through a plain
round-robin with the same workers: two are loaded, and the one loaded first leaves for the next that is needed.
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
from benchmarks.stack import Stack, running
from benchmarks.tables import setting_of
from benchmarks.texts import TEXTS
from runners.process import memory, worker_process
from runners.process.worker_process import Instance
from runners.settings import Settings
from runners.versions import introspection
from runners.versions.environments import Environment
from runners.versions.model_folder import read
from runners.worker.frames import Done, FromWorker, Item
from schemas.prediction import FINAL

HERE: Final = Path(__file__).parent
BUNDLED: Final = HERE.parent / "runners" / "models"
MB: Final = 1_000_000
CAP: Final = 1250 * MB
"""Two of the larger of these fit, three do not."""
HOT: Final = 1000 * MB
"""Of it, what may be on the device: the rest is for who is parked."""
AT_ONCE: Final = 64
THREADS: Final = "1"


class Job(Struct, frozen=True):
    model: str
    input: dict[str, Any]


class Took(Struct, frozen=True, kw_only=True):
    """How often something was done, and how many seconds it took in all."""

    times: int = 0
    seconds: float = 0.0

    def and_(self, seconds: float) -> "Took":
        return Took(times=self.times + 1, seconds=self.seconds + seconds)


class Outcome(Struct, frozen=True, kw_only=True):
    what: str
    machine: Machine
    predictions: int
    wrong: int
    seconds: float
    most: int
    """Resident bytes of all workers together, at most."""
    loads: Took
    parks: Took
    unparks: Took
    evictions: Took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--predictions", type=int, default=500)
    parser.add_argument("--plain", type=int, default=100, help="predictions of the round-robin, the first so many")
    chosen = parser.parse_args()
    here = machine.describe()
    jobs = mixed(chosen.predictions, random.Random(4))
    outcomes = [asyncio.run(ours(jobs, here)), asyncio.run(plain(jobs[: chosen.plain], here))]
    console = Console(width=None if sys.stdout.isatty() else 140)
    about = setting_of(here)
    for table in (shown(outcomes), about):
        console.print(table)
    console.print(f"raw numbers: {_keep(outcomes)}", highlight=False)
    if any(outcome.wrong for outcome in outcomes) or outcomes[0].most > CAP:
        sys.exit("some answers were wrong, or the cap was not kept")


def mixed(count: int, draw: random.Random) -> list[Job]:
    """In no order: every model may be next."""
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


def right(model: str, output: Any) -> bool:
    """That it is an answer of this model, and whole."""
    match model:
        case "minilm":
            return len(output) == 384 and abs(sum(value * value for value in output) - 1) < 1e-3
        case "emoji":
            return len(output) == 4
        case "classify":
            return len(output) == 3 and all(each["label"] for each in output)
        case _:
            return bool(output)


async def ours(jobs: list[Job], here: Machine) -> Outcome:
    environ = {"SAMOVAR_MEMORY": str(CAP), "SAMOVAR_DEVICE_MEMORY": str(HOT), "SAMOVAR_THREADS": THREADS}
    with running(environ=environ) as stack:
        async with _weighed(lambda: [each.pid for each in processes.find(stack, "worker")]) as scale:
            began = time.monotonic()
            wrong = await _asked(stack, jobs)
            seconds = time.monotonic() - began
        done = _done(stack)
    return Outcome(
        what="Samovar", machine=here, predictions=len(jobs), wrong=wrong, seconds=seconds, most=scale.most, **done
    )


async def _asked(stack: Stack, jobs: list[Job]) -> int:
    """How many were not answered as they should be."""
    turn = asyncio.Semaphore(AT_ONCE)
    async with httpx.AsyncClient(base_url=stack.url, headers=stack.headers, timeout=65) as http:

        async def one(job: Job) -> bool:
            async with turn:
                url = f"/v1/models/samovar/{job.model}/predictions"
                answer = await http.post(url, json={"input": job.input}, headers={"Prefer": "wait"})
                prediction: dict[str, Any] = answer.json()
                while prediction["status"] not in FINAL:
                    await asyncio.sleep(0.1)
                    prediction = (await http.get(f"/v1/predictions/{prediction['id']}")).json()
                good = prediction["status"] == "succeeded" and right(job.model, prediction["output"])
                if not good:
                    print(job.model, prediction["status"], prediction["error"], file=sys.stderr)
                return good

        return len(jobs) - sum(await asyncio.gather(*map(one, jobs)))


def _done(stack: Stack) -> dict[str, Took]:
    """What the runner wrote down."""
    found = {"loads": Took(), "parks": Took(), "unparks": Took(), "evictions": Took()}
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
                found["loads"] = found["loads"].and_(at - loading[line["model"]])
            case "parked" | "unparked" | "evicted":
                name = {"parked": "parks", "unparked": "unparks", "evicted": "evictions"}[line["event"]]
                found[name] = found[name].and_(line["seconds"])
            case _:
                pass
    return found


class Plain:
    """Two workers; the one that was loaded first leaves for the next that is needed."""

    def __init__(self) -> None:
        self.workers: deque[tuple[str, Instance]] = deque()
        self.loads = self.evictions = Took()
        self._answers: asyncio.Queue[Done] = asyncio.Queue()

    async def run(self, job: Job) -> Any:
        worker = next((worker for model, worker in self.workers if model == job.model), None)
        if worker is None:
            if len(self.workers) == 2:
                await self.leave()
            worker = await self._load(job.model)
        worker.run([Item("job", json.encode(job.input))])
        done = await self._answers.get()
        return (done.status, done.value)

    async def leave(self) -> None:
        began = time.monotonic()
        await self.workers.popleft()[1].end()
        self.evictions = self.evictions.and_(time.monotonic() - began)

    async def _load(self, model: str) -> Instance:
        began = time.monotonic()
        program = introspection.program_of(read(BUNDLED / model), Environment(Path(sys.executable), None), Settings())
        worker = await worker_process.start(program, self._heard)
        await worker.ready(120)
        self.loads = self.loads.and_(time.monotonic() - began)
        self.workers.append((model, worker))
        return worker

    def _heard(self, frame: FromWorker) -> None:
        if isinstance(frame, Done):
            self._answers.put_nowait(frame)


async def plain(jobs: list[Job], here: Machine) -> Outcome:
    os.environ |= {"OMP_NUM_THREADS": THREADS, "OMP_WAIT_POLICY": "PASSIVE"}
    robin = Plain()
    wrong = 0
    async with _weighed(lambda: [worker.pid for _, worker in robin.workers]) as scale:
        began = time.monotonic()
        for job in jobs:
            status, _ = await robin.run(job)
            wrong += status != "ok"
        seconds = time.monotonic() - began
        while robin.workers:
            await robin.leave()
    return Outcome(
        what="round-robin",
        machine=here,
        predictions=len(jobs),
        wrong=wrong,
        seconds=seconds,
        most=scale.most,
        loads=robin.loads,
        parks=Took(),
        unparks=Took(),
        evictions=robin.evictions,
    )


class Scale:
    most = 0


@asynccontextmanager
async def _weighed(pids: Callable[[], list[int]]) -> AsyncGenerator[Scale]:
    """What these have together, ten times a second, looked at by somebody else than the runner."""
    scale = Scale()

    async def watch() -> None:
        while True:
            with suppress(psutil.Error):
                scale.most = max(scale.most, sum(memory.resident(pids()).values()))
            await asyncio.sleep(0.1)

    task = asyncio.create_task(watch())
    try:
        yield scale
    finally:
        task.cancel()
        await asyncio.wait([task])


def shown(outcomes: list[Outcome]) -> Table:
    table = Table("", *(f"{outcome.what}, {outcome.predictions} predictions" for outcome in outcomes))

    def row(name: str, cell: Callable[[Outcome], str]) -> None:
        table.add_row(name, *(cell(outcome) for outcome in outcomes))

    row("wrong or failed", lambda each: str(each.wrong))
    row("seconds", lambda each: f"{each.seconds:.1f}")
    row("seconds per 100 predictions", lambda each: f"{100 * each.seconds / each.predictions:.1f}")
    row("loads (seconds each)", lambda each: _took(each.loads))
    row("parks", lambda each: _took(each.parks))
    row("unparks", lambda each: _took(each.unparks))
    row("evictions", lambda each: _took(each.evictions))
    row(f"resident at most, MB (cap {CAP // MB})", lambda each: f"{each.most / MB:.0f}")
    return table


def _took(took: Took) -> str:
    return f"{took.times} ({took.seconds / took.times:.2f})" if took.times else "0"


def _keep(outcomes: list[Outcome]) -> Path:
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    path = results / f"memory-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.jsonl"
    path.write_bytes(b"".join(json.encode(one) + b"\n" for one in outcomes))
    return path


if __name__ == "__main__":
    main()
