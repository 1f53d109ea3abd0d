"""A flame graph of one of a stack's processes under load."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Literal

from msgspec import structs

from benchmarks import processes
from benchmarks.measure import measure
from benchmarks.plans import MODELS, PLAIN_ROWS, create_plan
from benchmarks.targets import Target, start_samovar

SPY: Final = Path(sys.executable).with_name("py-spy")
RATE: Final = 400  # samples a second
PERMISSION_ERRORS: Final = "Permission denied", "Operation not permitted", "requires root"
PERMISSION_ADVICE: Final = (
    "py-spy may not look into the process. Run this as root or with CAP_SYS_PTRACE (docker run --cap-add …), "
    "or let users look at their own: sysctl kernel.yama.ptrace_scope=0."
)

Format = Literal["flamegraph", "speedscope"]


class ProfilingFailed(Exception):
    """py-spy did not record."""


def write_flame_graph(
    *,
    kind: Literal["gateway", "agent", "worker"] = "gateway",
    seconds: int = 10,
    clients: int = 32,
    row: str = "no-op, 32 clients",
    pid: int | None = None,
    format: Format = "flamegraph",
    out: Path = Path("flame.svg"),
) -> None:
    """Write a flame graph of a process of a stack that is started and loaded for it.

    With `pid`, of that process instead, which others load. Ends the process if py-spy fails.
    """
    try:
        if pid is not None:
            record(pid, seconds, out, format)
        else:
            record_loaded(kind, row, clients, seconds, out, format)
    except ProfilingFailed as error:
        sys.exit(str(error))
    print(f"written to {out}")


def record(pid: int, seconds: int, out: Path, format: Format = "flamegraph") -> None:
    """Record the stacks of a process; threads that wait are not sampled.

    Raises `ProfilingFailed`.
    """
    command = [str(SPY), "record", "--pid", str(pid), "--duration", str(seconds), "--rate", str(RATE)]
    result = subprocess.run([*command, "--format", format, "--output", str(out)], capture_output=True, text=True)
    output = result.stderr + result.stdout
    if any(words in output for words in PERMISSION_ERRORS):
        raise ProfilingFailed(f"{PERMISSION_ADVICE} It says: {output.strip()}")
    if result.returncode or not out.exists():
        raise ProfilingFailed(f"py-spy ended with {result.returncode}:\n{output.strip()}")


def record_loaded(kind: str, row: str, clients: int, seconds: int, out: Path, format: Format) -> None:
    """Start a stack, load it with a row of the suite, and record one of its processes."""
    with start_samovar(models=[MODELS], environ={"SAMOVAR_BUNDLED": "false"}) as target, ThreadPoolExecutor(1) as pool:
        _generate_load(target, row, clients, 1)  # loads the model, so that there is a worker
        assert target.pid is not None
        (process, *_) = processes.find_below(target.pid, kind)
        loading = pool.submit(_generate_load, target, row, clients, seconds + 1)
        record(process.pid, seconds, out, format)
        loading.result()


def _generate_load(target: Target, row: str, clients: int, seconds: float) -> None:
    match = next((each for each in PLAIN_ROWS if each.name == row), None)
    if match is None:
        raise ProfilingFailed(f"there is no row {row}; there are: {'; '.join(each.name for each in PLAIN_ROWS)}")
    measure(structs.replace(create_plan(match, target, seconds=seconds, repeats=1), clients=clients), target)
