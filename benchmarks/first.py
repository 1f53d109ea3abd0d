"""The first benchmark: what a prediction costs on its way through everything, and how fresh an event is.

`python -m benchmarks.first` starts a stack of its own; `--url` and `--token` take one that runs. Prints a table, and
keeps the raw numbers in `benchmarks/results/`.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
from msgspec import Struct, json
from rich.console import Console

from benchmarks import machine, processes, rows
from benchmarks.load import Sync, Ticks
from benchmarks.machine import Machine
from benchmarks.stack import Stack, running
from benchmarks.table import Line, figures, tables

MODELS = Path(__file__).parent / "models"
RESULTS = Path(__file__).parent / "results"


class Target(Struct, frozen=True):
    url: str
    token: str
    stack: Stack | None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="of a running stack with benchmarks/models; none: one is started")
    parser.add_argument("--token", default=os.environ.get("SAMOVAR_TOKEN"))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5, help="of each repeat with sync calls")
    chosen = parser.parse_args()
    with target(chosen.url, chosen.token) as found:
        run(found, chosen.repeats, chosen.seconds)


@contextmanager
def target(url: str | None, token: str | None) -> Generator[Target]:
    if url:
        if not token:
            sys.exit("--url needs --token (or SAMOVAR_TOKEN)")
        yield Target(url, token, None)
        return
    with running(models=[MODELS]) as stack:
        yield Target(stack.url, stack.token, stack)


def run(found: Target, repeats: int, seconds: float) -> None:
    here = machine.describe()
    console = Console(width=None if sys.stdout.isatty() else 140)
    _warm_up(found)
    kept: list[Line] = []
    for kind in (["sync", "--clients", "1"], ["sync", "--clients", "32"], ["ticks", "--streams", "1"]):
        for _ in range(repeats):
            line = _measure(found, here, kind, seconds)
            kept.append(line)
            console.print(f"  {line.what}: {_brief(line.measured)}", highlight=False)
    for table in tables(here, kept):
        console.print(table)
    console.print(f"raw numbers: {_keep(kept)}", highlight=False)


def _warm_up(found: Target) -> None:
    """Both models are loaded, and their first predictions are behind us."""
    headers = {"Authorization": f"Bearer {found.token}", "Prefer": "wait"}
    with httpx.Client(base_url=found.url, headers=headers, timeout=65) as http:
        for model, wish in (("hello-world", {"text": "x"}), ("clock", {"ticks": 2, "pause": 0.01})):
            answer = http.post(f"/v1/models/samovar/{model}/predictions", json={"input": wish})
            assert answer.status_code == 201, answer.text
    _load(found, ["sync", "--clients", "32", "--seconds", "2"])


def _measure(found: Target, here: Machine, kind: list[str], seconds: float) -> Line:
    before, used = _rows(found), _cpu(found)
    measured = _load(found, [*kind, "--seconds", str(seconds)] if kind[0] == "sync" else kind)
    after, cpu = _rows(found), {name: seconds - used[name] for name, seconds in _cpu(found).items()}
    assert not isinstance(measured, Sync) or not measured.wrong, f"{measured.wrong} wrong answers"
    return Line(
        at=datetime.now(UTC).isoformat(),
        what=" ".join(kind).replace("--", ""),
        machine=here,
        processes=_processes(found),
        rows=None if before is None or after is None else after - before,
        cpu=cpu,
        measured=measured,
    )


def _load(found: Target, arguments: list[str]) -> Sync | Ticks:
    command = [sys.executable, "-m", "benchmarks.load", arguments[0], "--url", found.url, *arguments[1:]]
    env = {**os.environ, "SAMOVAR_TOKEN": found.token}
    said = subprocess.run(command, env=env, stdout=subprocess.PIPE, check=True).stdout
    return json.decode(said, type=Sync | Ticks)


def _rows(found: Target) -> int | None:
    """Final rows in the record; None when its database is not ours to read."""
    return asyncio.run(rows.ended(found.stack)) if found.stack else None


def _cpu(found: Target) -> dict[str, float]:
    return processes.cpu(found.stack) if found.stack else {}


def _processes(found: Target) -> int | None:
    return processes.count(found.stack) if found.stack else None


def _keep(lines: list[Line]) -> Path:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"first-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.jsonl"
    path.write_bytes(b"".join(json.encode(line) + b"\n" for line in lines))
    return path


def _brief(measured: Sync | Ticks) -> str:
    return "   ".join(f"{name} {value:.2f}" for name, value in figures(measured).items())


if __name__ == "__main__":
    main()
