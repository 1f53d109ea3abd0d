"""Cold starts: the time from a request to its answer if no worker has the model loaded, or if it is parked.

`python -m benchmarks.cold` starts two stacks, one after the other: in the first, workers end as soon as they are idle;
in the second a device has room for one of two models, and the other one is parked. It prints tables of medians, and
writes the raw numbers to `benchmarks/results/`.
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
from benchmarks.stack import SAMOVAR, Stack, running_stack
from benchmarks.tables import machine_table

HERE: Final = Path(__file__).parent
IDLE_TIMEOUT: Final = "0.3"  # seconds after which the stack ends a worker
LIMIT: Final = 60.0
HELLO: Final = "samovar/hello-world"
ROMAN: Final = "benchmark/roman"
MINILM: Final = "samovar/minilm"
PARKED: Final = "samovar/minilm, parked"
OTHER: Final = "samovar/speak"
"""The model that takes the device from minilm."""
ONE_MODEL_MEMORY: Final = "600MB"
"""Memory for either of the two models, but not for both."""
HELLO_LIMIT: Final = 1.0  # seconds that hello-world may take
ENVIRONMENT_LIMIT: Final = 2.0  # seconds that a version with an environment may take beyond that
DISK_LIMIT: Final = 6.0
UNPARK_LIMIT: Final = 0.5
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


class ColdStart(Struct, frozen=True, kw_only=True):
    """One request that found no worker; times in seconds."""

    model: str
    machine: Machine
    total: float
    parts: dict[str, float]
    """The parts of the total, in seconds."""


class StartTimes(Struct, frozen=True, kw_only=True):
    """The times of the steps of a cold start, in Unix seconds."""

    requested: float
    loading: float
    loaded: float
    load_seconds: float
    """Seconds that import and set-up took, as the worker reports them."""
    run_started: float
    run_ended: float
    answered: float
    model_times: dict[str, float] | None
    """When the model's import and set-up began and ended, if its output says so."""


def main() -> None:
    """Measure cold starts and unparking, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats: int = parser.parse_args().repeats
    here = machine.describe_machine()
    with running_stack(environ={"SAMOVAR_IDLE_TIMEOUT": IDLE_TIMEOUT}) as stack:
        push_model(stack, HERE / "predictors" / "roman", ROMAN)
        # The first start also reads files that stay in memory from then on, so it is not counted.
        models = (HELLO, ROMAN, MINILM)
        starts = [measure_cold_start(stack, here, model) for _ in range(repeats + 1) for model in models][len(models) :]
    with running_stack(environ={"SAMOVAR_DEVICE_MEMORY": ONE_MODEL_MEMORY, "SAMOVAR_MIN_RESIDENCY": "0"}) as stack:
        starts += [measure_unpark(stack, here) for _ in range(repeats + 1)][1:]
    console = Console(width=None if sys.stdout.isatty() else 140)
    setting = machine_table(here)
    for table in (total_table(starts), part_table(starts), setting):
        console.print(table)
    console.print(f"raw numbers: {_write_starts(starts)}", highlight=False)


def push_model(stack: Stack, folder: Path, model: str) -> None:
    """Push a folder as a version of the model."""
    env = {**os.environ, "SAMOVAR_URL": stack.url, "SAMOVAR_TOKEN": stack.token}
    subprocess.run([SAMOVAR, "push", folder, model], env=env, check=True)


def measure_cold_start(stack: Stack, here: Machine, model: str) -> ColdStart:
    """Request a prediction after the model's last worker has ended."""
    log = RunnerLog(stack)
    log.wait_for(model, "evicted")
    times = predict_from_cold(stack, log, model)
    return ColdStart(model=model, machine=here, total=times.answered - times.requested, parts=dict(split_parts(times)))


def measure_unpark(stack: Stack, here: Machine) -> ColdStart:
    """Request a prediction of minilm while it is parked.

    Another model has the device, and has to leave it first.
    """
    log = RunnerLog(stack)
    predict(stack, MINILM)
    predict(stack, OTHER)
    log.wait_for(MINILM, "parked")
    requested, prediction, answered = predict(stack, MINILM)
    unparked = log.event_after(MINILM, requested, "unparked")
    unparked_at, run_started = parse_time(unparked["timestamp"]), parse_time(prediction["started_at"])
    ended = parse_time(prediction["completed_at"])
    parts = {
        "request → other parked": unparked_at - unparked["seconds"] - requested,
        "unpark": unparked["seconds"],
        "loaded → run": run_started - unparked_at,
        "run": ended - run_started,
        "end → answer": answered - ended,
    }
    return ColdStart(model=PARKED, machine=here, total=answered - requested, parts=parts)


def predict(stack: Stack, model: str) -> tuple[float, dict[str, Any], float]:
    """Return when a prediction was requested, the prediction, and when its answer came."""
    headers = {**stack.headers, "Prefer": "wait"}
    with httpx.Client(base_url=stack.url, headers=headers, timeout=65) as http:
        http.get("/healthz")  # opens the connection
        owner, name = model.split("/")
        requested = time.time()
        answer = http.post(f"/v1/models/{owner}/{name}/predictions", json={"input": {"text": "you"}})
        answered = time.time()
    prediction = answer.json()
    assert prediction.get("status") == "succeeded", answer.text
    return requested, prediction, answered


def predict_from_cold(stack: Stack, log: "RunnerLog", model: str) -> StartTimes:
    """Request a prediction of a model that is not loaded, and return the times of its steps."""
    requested, prediction, answered = predict(stack, model)
    began, loaded = log.event_after(model, requested, "loading"), log.event_after(model, requested, "loaded")
    return StartTimes(
        requested=requested,
        loading=parse_time(began["timestamp"]),
        loaded=parse_time(loaded["timestamp"]),
        load_seconds=loaded["seconds"],
        run_started=parse_time(prediction["started_at"]),
        run_ended=parse_time(prediction["completed_at"]),
        answered=answered,
        model_times=prediction["output"] if isinstance(prediction["output"], dict) else None,
    )


def split_parts(times: StartTimes) -> Iterator[tuple[str, float]]:
    """Yield the parts of a cold start, in seconds."""
    yield "request → load begun", times.loading - times.requested
    if times.model_times is None:
        yield "process start", times.loaded - times.loading - times.load_seconds
        yield "import, set-up", times.load_seconds
    else:
        yield "process start", times.model_times["begun"] - times.loading
        yield "import", times.model_times["imported"] - times.model_times["begun"]
        yield "set-up", times.model_times["ready"] - times.model_times["imported"]
        yield "ready → agent", times.loaded - times.model_times["ready"]
    yield "loaded → run", times.run_started - times.loaded
    yield "run", times.run_ended - times.run_started
    yield "end → answer", times.answered - times.run_ended


class RunnerLog:
    """The log of the stack's runner: a JSON document a line."""

    def __init__(self, stack: Stack) -> None:
        self._path = stack.data_dir / "logs" / "runner.log"

    def event_after(self, model: str, after: float, event: str) -> dict[str, Any]:
        """Return the first such event of a model after a time."""
        return next(
            line for line in self._lines(model) if line["event"] == event and parse_time(line["timestamp"]) > after
        )

    def wait_for(self, model: str, last: str) -> None:
        """Wait until the model's last event is `last`."""
        deadline = time.monotonic() + LIMIT
        while (lines := list(self._lines(model))) and lines[-1]["event"] != last:
            assert time.monotonic() < deadline, f"{model} is not idle: {lines[-1]}"
            time.sleep(0.05)

    def _lines(self, model: str) -> Iterator[dict[str, Any]]:
        for line in self._path.read_bytes().splitlines():
            if line.startswith(b"{"):
                line_fields: dict[str, Any] = json.decode(line)
                if line_fields.get("model") in (model, model.partition("/")[2]) and "timestamp" in line_fields:
                    yield line_fields


def parse_time(text: str) -> float:
    """Return an ISO 8601 time as Unix seconds."""
    return datetime.fromisoformat(text).timestamp()


def total_table(starts: list[ColdStart]) -> Table:
    """Return the table of total times, with the aims."""
    table = Table("cold start", "median s", "least", "most", "aim", "met")
    alone = statistics.median(start.total for start in starts if start.model == HELLO)
    aims = ((HELLO, HELLO_LIMIT), (ROMAN, alone + ENVIRONMENT_LIMIT), (MINILM, DISK_LIMIT), (PARKED, UNPARK_LIMIT))
    for model, aim in aims:
        totals = [start.total for start in starts if start.model == model]
        median = statistics.median(totals)
        cells = [f"{value:.3f}" for value in (median, min(totals), max(totals))]
        words = f"≤ {alone:.3f} + {ENVIRONMENT_LIMIT:g}" if model == ROMAN else f"≤ {aim:g}"
        table.add_row(model, *cells, words, "yes" if median <= aim else "no")
    return table


def part_table(starts: list[ColdStart]) -> Table:
    """Return the table of the parts of each start."""
    models = (HELLO, ROMAN, MINILM, PARKED)
    table = Table("part, median ms", *models)
    for name in ORDER:
        table.add_row(name, *(_median(starts, model, name) for model in models))
    return table


def _median(starts: list[ColdStart], model: str, part: str) -> str:
    values = [start.parts[part] for start in starts if start.model == model and part in start.parts]
    return f"{statistics.median(values) * 1000:.1f}" if values else ""


def _write_starts(starts: list[ColdStart]) -> Path:
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    path = results / f"cold-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.jsonl"
    path.write_bytes(b"".join(json.encode(start) + b"\n" for start in starts))
    return path


if __name__ == "__main__":
    main()
