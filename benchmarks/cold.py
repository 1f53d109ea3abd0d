"""Cold starts: from a request to its answer when no worker has the model loaded, or it is parked; where the time goes.

`python -m benchmarks.cold` starts two stacks of its own, one after the other: in the first, workers end as soon as they
are idle; in the second a device has room for one of two models, and the other one is parked. Prints tables of medians,
and keeps the raw numbers in `benchmarks/results/`.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import httpx
from msgspec import Struct, json
from rich.console import Console
from rich.table import Table

from benchmarks import machine
from benchmarks.machine import Machine
from benchmarks.stack import SAMOVAR, Stack, running
from benchmarks.tables import setting_of

HERE: Final = Path(__file__).parent
IDLE: Final = "0.3"  # seconds after which the stack ends a worker
LIMIT: Final = 60.0
HELLO: Final = "samovar/hello-world"
ROMAN: Final = "benchmark/roman"
MINILM: Final = "samovar/minilm"
PARKED: Final = "samovar/minilm, parked"
OTHER: Final = "samovar/speak"
"""It takes the device from minilm."""
ONE: Final = "600MB"
"""Room for either of the two, and not for both."""
ALONE: Final = 1.0  # seconds that hello-world may take
MORE: Final = 2.0  # seconds that a version with an environment may take beyond that
FROM_DISK: Final = 6.0
FROM_MEMORY: Final = 0.5
ORDER: Final = (
    "request → load begun",
    "request → other parked",
    "unpark",
    "process start",
    "import, set-up",
    "import",
    "set-up",
    "ready → agent",
    "loaded → run",
    "run",
    "end → answer",
)


class Start(Struct, frozen=True, kw_only=True):
    """One request that found no worker; all in seconds."""

    model: str
    machine: Machine
    total: float
    parts: dict[str, float]
    """Together they are the total."""


class Moments(Struct, frozen=True, kw_only=True):
    """What happened when, in Unix seconds."""

    asked: float
    loading: float
    loaded: float
    seconds: float
    """Of these, how many the worker says that import and set-up took."""
    entered: float
    left: float
    answered: float
    told: dict[str, float] | None
    """When the model's own import and set-up began and ended, if it says so."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats: int = parser.parse_args().repeats
    here = machine.describe()
    with running(environ={"SAMOVAR_IDLE_TIMEOUT": IDLE}) as stack:
        push(stack, HERE / "predictors" / "roman", ROMAN)
        # The first time, files are read that are in memory from then on: that is another measurement.
        models = (HELLO, ROMAN, MINILM)
        starts = [start(stack, here, model) for _ in range(repeats + 1) for model in models][len(models) :]
    with running(environ={"SAMOVAR_DEVICE_MEMORY": ONE, "SAMOVAR_MIN_RESIDENCY": "0"}) as stack:
        starts += [wake(stack, here) for _ in range(repeats + 1)][1:]
    console = Console(width=None if sys.stdout.isatty() else 140)
    about = setting_of(here)
    for table in (totals(starts), parts(starts), about):
        console.print(table)
    console.print(f"raw numbers: {_keep(starts)}", highlight=False)


def push(stack: Stack, folder: Path, model: str) -> None:
    env = {**os.environ, "SAMOVAR_URL": stack.url, "SAMOVAR_TOKEN": stack.token}
    subprocess.run([SAMOVAR, "push", folder, model], env=env, check=True)


def start(stack: Stack, here: Machine, model: str) -> Start:
    log = Log(stack)
    log.wait(model, "evicted")
    found = ask(stack, log, model)
    return Start(model=model, machine=here, total=found.answered - found.asked, parts=dict(split(found)))


def wake(stack: Stack, here: Machine) -> Start:
    """minilm is parked as another model has the device; that one has to leave it first."""
    log = Log(stack)
    predict(stack, MINILM)
    predict(stack, OTHER)
    log.wait(MINILM, "parked")
    asked, prediction, answered = predict(stack, MINILM)
    unparked = log.since(MINILM, asked, "unparked")
    back, entered = moment(unparked["timestamp"]), moment(prediction["started_at"])
    left = moment(prediction["completed_at"])
    parts = {
        "request → other parked": back - unparked["seconds"] - asked,
        "unpark": unparked["seconds"],
        "loaded → run": entered - back,
        "run": left - entered,
        "end → answer": answered - left,
    }
    return Start(model=PARKED, machine=here, total=answered - asked, parts=parts)


def predict(stack: Stack, model: str) -> tuple[float, dict[str, Any], float]:
    """A prediction, and when it was asked for and answered."""
    headers = {**stack.headers, "Prefer": "wait"}
    with httpx.Client(base_url=stack.url, headers=headers, timeout=65) as http:
        http.get("/healthz")  # the connection is there
        owner, name = model.split("/")
        asked = time.time()
        answer = http.post(f"/v1/models/{owner}/{name}/predictions", json={"input": {"text": "you"}})
        answered = time.time()
    prediction = answer.json()
    assert prediction.get("status") == "succeeded", answer.text
    return asked, prediction, answered


def ask(stack: Stack, log: "Log", model: str) -> Moments:
    asked, prediction, answered = predict(stack, model)
    began, loaded = log.since(model, asked, "loading"), log.since(model, asked, "loaded")
    return Moments(
        asked=asked,
        loading=moment(began["timestamp"]),
        loaded=moment(loaded["timestamp"]),
        seconds=loaded["seconds"],
        entered=moment(prediction["started_at"]),
        left=moment(prediction["completed_at"]),
        answered=answered,
        told=prediction["output"] if isinstance(prediction["output"], dict) else None,
    )


def split(found: Moments) -> Iterator[tuple[str, float]]:
    yield "request → load begun", found.loading - found.asked
    if found.told is None:
        yield "process start", found.loaded - found.loading - found.seconds
        yield "import, set-up", found.seconds
    else:
        yield "process start", found.told["begun"] - found.loading
        yield "import", found.told["imported"] - found.told["begun"]
        yield "set-up", found.told["ready"] - found.told["imported"]
        yield "ready → agent", found.loaded - found.told["ready"]
    yield "loaded → run", found.entered - found.loaded
    yield "run", found.left - found.entered
    yield "end → answer", found.answered - found.left


class Log:
    """What the stack's runner wrote down, a JSON document a line."""

    def __init__(self, stack: Stack) -> None:
        self._path = stack.data_dir / "logs" / "runner.log"

    def since(self, model: str, after: float, event: str) -> dict[str, Any]:
        return next(line for line in self._lines(model) if line["event"] == event and moment(line["timestamp"]) > after)

    def wait(self, model: str, last: str) -> None:
        """Until no worker has the model."""
        deadline = time.monotonic() + LIMIT
        while (lines := list(self._lines(model))) and lines[-1]["event"] != last:
            assert time.monotonic() < deadline, f"{model} is not idle: {lines[-1]}"
            time.sleep(0.05)

    def _lines(self, model: str) -> Iterator[dict[str, Any]]:
        for line in self._path.read_bytes().splitlines():
            if line.startswith(b"{"):
                found: dict[str, Any] = json.decode(line)
                if found.get("model") in (model, model.partition("/")[2]) and "timestamp" in found:
                    yield found


def moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def totals(starts: list[Start]) -> Table:
    table = Table("cold start", "median s", "least", "most", "aim", "met")
    alone = statistics.median(one.total for one in starts if one.model == HELLO)
    aims = ((HELLO, ALONE), (ROMAN, alone + MORE), (MINILM, FROM_DISK), (PARKED, FROM_MEMORY))
    for model, aim in aims:
        took = [one.total for one in starts if one.model == model]
        median = statistics.median(took)
        shown = [f"{value:.3f}" for value in (median, min(took), max(took))]
        words = f"≤ {alone:.3f} + {MORE:g}" if model == ROMAN else f"≤ {aim:g}"
        table.add_row(model, *shown, words, "yes" if median <= aim else "no")
    return table


def parts(starts: list[Start]) -> Table:
    models = (HELLO, ROMAN, MINILM, PARKED)
    table = Table("part, median ms", *models)
    for name in ORDER:
        table.add_row(name, *(_median(starts, model, name) for model in models))
    return table


def _median(starts: list[Start], model: str, part: str) -> str:
    values = [one.parts[part] for one in starts if one.model == model and part in one.parts]
    return f"{statistics.median(values) * 1000:.1f}" if values else ""


def _keep(starts: list[Start]) -> Path:
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    path = results / f"cold-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.jsonl"
    path.write_bytes(b"".join(json.encode(one) + b"\n" for one in starts))
    return path


if __name__ == "__main__":
    main()
