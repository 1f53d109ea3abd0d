"""Two runner hosts, many cold versions, and one host that dies midway: which host loaded what, and was it needed.

`python -m tests.faults.hosts` prints what happened. Everything is real: a stack, a second runner beside it, `kill -9`.
"""

import asyncio
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import httpx
import psutil
from msgspec import Struct, field, json

from benchmarks.stack import SAMOVAR, Stack, running_stack
from tests.faults.checker import FINAL
from tests.push import run_samovar
from tests.runners.conftest import eventually

MEMORY: Final = "6GB"  # of each host: room for all of these models
TIMEOUT: Final = 180.0  # seconds
MAX_CONCURRENT: Final = 32

PREDICT: Final = """
import time
class Predictor:
    def setup(self):
        self.factor = {factor}
    def predict(self, n: int) -> int:
        time.sleep(0.005)
        return n * self.factor
"""


class Span(Struct, frozen=True, kw_only=True):
    """An instance of a version on a host, from its load to its end."""

    host: str
    model: str
    started_at: float
    ended_at: float


class Report(Struct, kw_only=True):
    predictions: int
    versions: int
    seconds: float
    after_kill: float
    """Seconds from the kill to the end of the last prediction."""
    wrong: list[str] = field(default_factory=list)
    loads: dict[str, int] = field(default_factory=dict)
    evictions: dict[str, int] = field(default_factory=dict)
    double_loads: list[str] = field(default_factory=list)
    """Versions that a host loaded while the other host, alive, had them."""
    max_instances: dict[str, int] = field(default_factory=dict)
    """The largest number of instances at once, by host."""

    def __str__(self) -> str:
        lines = [
            f"{self.predictions} predictions of {self.versions} versions in {self.seconds:.1f} s; "
            f"the last one {self.after_kill:.1f} s after a host was killed",
            *(
                f"{host}: {count} loads, {self.evictions.get(host, 0)} evictions, "
                f"{self.max_instances[host]} instances at most"
                for host, count in self.loads.items()
            ),
            f"loaded twice without need: {len(self.double_loads)}; wrong or missing: {len(self.wrong)}",
            *self.double_loads[:10],
            *self.wrong[:10],
        ]
        return "\n".join(lines)


async def run(folder: Path, *, versions: int = 50, predictions: int = 1000, seed: int = 1) -> Report:
    models = folder / "models"
    for number in range(versions):
        _write_model(models / f"cold-{number:02}", number + 2)
    environ = {"SAMOVAR_BUNDLED": "false", "SAMOVAR_MEMORY": MEMORY, "SAMOVAR_MIN_RESIDENCY": "1"}
    with (
        running_stack(models=[models], environ=environ) as stack,
        run_second_runner(stack, folder, models, environ) as other,
    ):
        await _wait_for_both(stack)
        report = await _run_load(stack, other, versions, predictions, random.Random(seed))
        killed = time.time() - (report.after_kill if report.after_kill else 0.0)
        logs = {"first": stack.data_dir / "logs" / "runner.log", "second": folder / "second.log"}
        _evaluate(report, {host: list(_read_log(log)) for host, log in logs.items()}, killed)
    return report


@contextmanager
def run_second_runner(stack: Stack, folder: Path, models: Path, environ: dict[str, str]) -> Generator[psutil.Process]:
    """Run a runner with its own cache and the settings that `samovar token --runner` prints."""
    result = run_samovar(stack, "token", "--runner", "--data-dir", str(stack.data_dir))
    assert result.status == 0, result.err
    settings = dict(line.split("=", 1) for line in result.out.splitlines())
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SAMOVAR_")}
    own = {"SAMOVAR_CACHE_DIR": str(folder / "cache"), "SAMOVAR_MODELS": str(models)}
    with (folder / "second.log").open("wb") as log:
        process = psutil.Popen(
            [sys.executable, str(SAMOVAR), "runner"],
            env={**inherited, **settings, **environ, **own},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            process.terminate()
        process.wait(30)


async def _wait_for_both(stack: Stack) -> None:
    """Wait until the API lists both runners."""
    async with httpx.AsyncClient(base_url=stack.url, headers=stack.headers) as http:

        async def has_both() -> bool:
            return len((await http.get("/v1/runners")).json()["runners"]) == 2

        await eventually(has_both, TIMEOUT)


async def _run_load(
    stack: Stack, other: psutil.Process, versions: int, predictions: int, draw: random.Random
) -> Report:
    requests = [(draw.randrange(versions), n) for n in range(predictions)]
    report = Report(predictions=predictions, versions=versions, seconds=0.0, after_kill=0.0)
    done = 0
    killed: float | None = None
    semaphore = asyncio.Semaphore(MAX_CONCURRENT)
    async with httpx.AsyncClient(base_url=stack.url, headers=stack.headers, timeout=65) as http:

        async def one(which: int, n: int) -> None:
            nonlocal done, killed
            async with semaphore:
                prediction = await _predict(http, f"cold-{which:02}", n)
            done += 1
            if done == predictions // 2 and killed is None:
                killed = time.monotonic()
                other.kill()
            if prediction["status"] != "succeeded" or prediction["output"] != n * (which + 2):
                report.wrong.append(f"cold-{which:02}({n}): {prediction['status']}, {prediction['output']}")

        started_at = time.monotonic()
        async with asyncio.timeout(TIMEOUT):
            await asyncio.gather(*(one(which, n) for which, n in requests))
        report.seconds = time.monotonic() - started_at
    assert killed is not None
    report.after_kill = time.monotonic() - killed
    return report


async def _predict(http: httpx.AsyncClient, model: str, n: int) -> dict[str, Any]:
    """Create a prediction and wait as long as it takes."""
    answer = await http.post(
        f"/v1/models/samovar/{model}/predictions", json={"input": {"n": n}}, headers={"Prefer": "wait"}
    )
    assert answer.is_success, answer.text
    prediction = answer.json()
    while prediction["status"] not in FINAL:
        await asyncio.sleep(0.05)
        prediction = (await http.get(f"/v1/predictions/{prediction['id']}")).json()
    return prediction


def _evaluate(report: Report, logs: dict[str, list[dict[str, Any]]], killed: float) -> None:
    spans: list[Span] = []
    for host, lines in logs.items():
        host_spans = list(read_spans(host, lines, killed if host == "second" else time.time()))
        spans += host_spans
        report.loads[host] = len(host_spans)
        report.evictions[host] = sum(line["event"] == "evicted" for line in lines)
        report.max_instances[host] = _max_at_once(host_spans)
    report.double_loads = [f"{model}: {count} times" for model, count in count_double_loads(spans).items()]


def read_spans(host: str, lines: Iterable[dict[str, Any]], end: float) -> Iterator[Span]:
    """Yield the spans of a host's instances. A span ends when the eviction begins: from then on, others may load it."""
    open_since: dict[str, float] = {}
    for line in lines:
        model, at = line.get("model", ""), line["at"]
        if line["event"] == "loading":
            open_since.setdefault(model, at)
        elif line["event"] in ("evicting", "evicted", "worker died") and model in open_since:
            yield Span(host=host, model=model, started_at=open_since.pop(model), ended_at=at)
    for model, started_at in open_since.items():
        yield Span(host=host, model=model, started_at=started_at, ended_at=end)


def count_double_loads(spans: Iterable[Span]) -> Counter[str]:
    """Count, for each version, how often one host loaded it while another host had it."""
    all_spans = list(spans)
    return Counter(span.model for span in all_spans if any(_has_elsewhere(other, span) for other in all_spans))


def _has_elsewhere(other: Span, span: Span) -> bool:
    """Whether another host had the version when this span began."""
    is_other_host = other.host != span.host and other.model == span.model
    return is_other_host and other.started_at <= span.started_at < other.ended_at


def _max_at_once(spans: list[Span]) -> int:
    changes = sorted([(span.started_at, 1) for span in spans] + [(span.ended_at, -1) for span in spans])
    most = now = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most


def _read_log(log: Path) -> Iterator[dict[str, Any]]:
    for text in log.read_bytes().splitlines():
        if text.startswith(b"{"):
            line: dict[str, Any] = json.decode(text)
            yield line | {"at": datetime.fromisoformat(line["timestamp"]).timestamp()}


def _write_model(folder: Path, factor: int) -> None:
    folder.mkdir(parents=True)
    (folder / "cog.yaml").write_text("predict: predict.py:Predictor\n")
    (folder / "predict.py").write_text(PREDICT.format(factor=factor))


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="samovar-hosts-") as folder:
        report = asyncio.run(run(Path(folder)))
    print(report)
    sys.exit(bool(report.wrong or report.double_loads))


if __name__ == "__main__":
    main()
