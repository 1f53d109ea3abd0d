"""Two runner hosts, many cold versions, and one host that dies in the middle: who loaded what, and was it needed.

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

from benchmarks.stack import SAMOVAR, Stack, running
from tests.faults.checker import FINAL
from tests.push import samovar
from tests.runners.conftest import eventually

MEMORY: Final = "6GB"  # of each host: room for all of these models
LIMIT: Final = 180.0  # seconds
AT_ONCE: Final = 32

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
    """An instance of a version in a host, from its load to its end."""

    host: str
    model: str
    began: float
    ended: float


class Report(Struct, kw_only=True):
    predictions: int
    versions: int
    seconds: float
    after_kill: float
    """Seconds from the kill to the last prediction that the dead host had."""
    wrong: list[str] = field(default_factory=list)
    loads: dict[str, int] = field(default_factory=dict)
    evictions: dict[str, int] = field(default_factory=dict)
    doubles: list[str] = field(default_factory=list)
    """Versions that a host loaded while the other one, alive, had them."""
    most: dict[str, int] = field(default_factory=dict)
    """Of instances at once, by host."""

    def __str__(self) -> str:
        lines = [
            f"{self.predictions} predictions of {self.versions} versions in {self.seconds:.1f} s; "
            f"the last one {self.after_kill:.1f} s after a host was killed",
            *(
                f"{host}: {count} loads, {self.evictions.get(host, 0)} evictions, {self.most[host]} instances at most"
                for host, count in self.loads.items()
            ),
            f"loaded twice without need: {len(self.doubles)}; wrong or missing: {len(self.wrong)}",
            *self.doubles[:10],
            *self.wrong[:10],
        ]
        return "\n".join(lines)


async def run(folder: Path, *, versions: int = 50, predictions: int = 1000, seed: int = 1) -> Report:
    models = folder / "models"
    for number in range(versions):
        _write(models / f"cold-{number:02}", number + 2)
    environ = {"SAMOVAR_BUNDLED": "false", "SAMOVAR_MEMORY": MEMORY, "SAMOVAR_MIN_RESIDENCY": "1"}
    with running(models=[models], environ=environ) as stack, second(stack, folder, models, environ) as other:
        await _both(stack)
        report = await _driven(stack, other, versions, predictions, random.Random(seed))
        killed = time.time() - (report.after_kill if report.after_kill else 0.0)
        logs = {"first": stack.data_dir / "logs" / "runner.log", "second": folder / "second.log"}
        _judge(report, {host: list(_lines(log)) for host, log in logs.items()}, killed)
    return report


@contextmanager
def second(stack: Stack, folder: Path, models: Path, environ: dict[str, str]) -> Generator[psutil.Process]:
    """A runner with a cache of its own, told what `samovar token --runner` says."""
    said = samovar(stack, "token", "--runner", "--data-dir", str(stack.data_dir))
    assert said.status == 0, said.err
    told = dict(line.split("=", 1) for line in said.out.splitlines())
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SAMOVAR_")}
    own = {"SAMOVAR_CACHE_DIR": str(folder / "cache"), "SAMOVAR_MODELS": str(models)}
    with (folder / "second.log").open("wb") as log:
        process = psutil.Popen(
            [sys.executable, str(SAMOVAR), "runner"],
            env={**kept, **told, **environ, **own},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            process.terminate()
        process.wait(30)


async def _both(stack: Stack) -> None:
    """Until both are there: the API lists who was heard of."""
    async with httpx.AsyncClient(base_url=stack.url, headers=stack.headers) as http:

        async def there() -> bool:
            return len((await http.get("/v1/runners")).json()["runners"]) == 2

        await eventually(there, LIMIT)


async def _driven(stack: Stack, other: psutil.Process, versions: int, predictions: int, draw: random.Random) -> Report:
    wanted = [(draw.randrange(versions), n) for n in range(predictions)]
    report = Report(predictions=predictions, versions=versions, seconds=0.0, after_kill=0.0)
    done = 0
    killed: float | None = None
    turn = asyncio.Semaphore(AT_ONCE)
    async with httpx.AsyncClient(base_url=stack.url, headers=stack.headers, timeout=65) as http:

        async def one(which: int, n: int) -> None:
            nonlocal done, killed
            async with turn:
                prediction = await _predicted(http, f"cold-{which:02}", n)
            done += 1
            if done == predictions // 2 and killed is None:
                killed = time.monotonic()
                other.kill()
            if prediction["status"] != "succeeded" or prediction["output"] != n * (which + 2):
                report.wrong.append(f"cold-{which:02}({n}): {prediction['status']}, {prediction['output']}")

        began = time.monotonic()
        async with asyncio.timeout(LIMIT):
            await asyncio.gather(*(one(which, n) for which, n in wanted))
        report.seconds = time.monotonic() - began
    assert killed is not None
    report.after_kill = time.monotonic() - killed
    return report


async def _predicted(http: httpx.AsyncClient, model: str, n: int) -> dict[str, Any]:
    """Created, and waited for as long as it takes."""
    answer = await http.post(
        f"/v1/models/samovar/{model}/predictions", json={"input": {"n": n}}, headers={"Prefer": "wait"}
    )
    assert answer.is_success, answer.text
    prediction = answer.json()
    while prediction["status"] not in FINAL:
        await asyncio.sleep(0.05)
        prediction = (await http.get(f"/v1/predictions/{prediction['id']}")).json()
    return prediction


def _judge(report: Report, logs: dict[str, list[dict[str, Any]]], killed: float) -> None:
    spans: list[Span] = []
    for host, lines in logs.items():
        found = list(spans_of(host, lines, killed if host == "second" else time.time()))
        spans += found
        report.loads[host] = len(found)
        report.evictions[host] = sum(line["event"] == "evicted" for line in lines)
        report.most[host] = _most(found)
    report.doubles = [f"{model}: {count} times" for model, count in doubles(spans).items()]


def spans_of(host: str, lines: Iterable[dict[str, Any]], end: float) -> Iterator[Span]:
    """An instance ends when it begins to leave: from there on somebody else may need it."""
    open_since: dict[str, float] = {}
    for line in lines:
        model, at = line.get("model", ""), line["at"]
        if line["event"] == "loading":
            open_since.setdefault(model, at)
        elif line["event"] in ("to be evicted", "evicted", "worker died") and model in open_since:
            yield Span(host=host, model=model, began=open_since.pop(model), ended=at)
    for model, began in open_since.items():
        yield Span(host=host, model=model, began=began, ended=end)


def doubles(spans: Iterable[Span]) -> Counter[str]:
    """How often a version was loaded by one host while another had it."""
    all_spans = list(spans)
    return Counter(
        span.model
        for span in all_spans
        if any(
            other.host != span.host and other.model == span.model and other.began <= span.began < other.ended
            for other in all_spans
        )
    )


def _most(spans: list[Span]) -> int:
    changes = sorted([(span.began, 1) for span in spans] + [(span.ended, -1) for span in spans])
    most = now = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most


def _lines(log: Path) -> Iterator[dict[str, Any]]:
    for text in log.read_bytes().splitlines():
        if text.startswith(b"{"):
            line: dict[str, Any] = json.decode(text)
            yield line | {"at": datetime.fromisoformat(line["timestamp"]).timestamp()}


def _write(folder: Path, factor: int) -> None:
    folder.mkdir(parents=True)
    (folder / "cog.yaml").write_text("predict: predict.py:Predictor\n")
    (folder / "predict.py").write_text(PREDICT.format(factor=factor))


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="samovar-hosts-") as folder:
        report = asyncio.run(run(Path(folder)))
    print(report)
    sys.exit(bool(report.wrong or report.doubles))


if __name__ == "__main__":
    main()
