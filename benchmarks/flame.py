"""A flame graph of one of a stack's processes under load."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Literal

from msgspec import structs

from benchmarks import processes
from benchmarks.measure import measure
from benchmarks.plans import MODELS, PLAIN, plan
from benchmarks.targets import Target, samovar

SPY: Final = Path(sys.executable).with_name("py-spy")
RATE: Final = 400  # samples a second
REFUSED: Final = "Permission denied", "Operation not permitted", "requires root"
RIGHTS: Final = (
    "py-spy may not look into the process. Run this as root or with CAP_SYS_PTRACE (docker run --cap-add …), "
    "or let users look at their own: sysctl kernel.yama.ptrace_scope=0."
)

Format = Literal["flamegraph", "speedscope"]


class Unseen(Exception):
    """py-spy did not record."""


def flame(
    *,
    kind: Literal["gateway", "agent", "worker"] = "gateway",
    seconds: int = 10,
    clients: int = 32,
    row: str = "no-op, 32 clients",
    pid: int | None = None,
    format: Format = "flamegraph",
    out: Path = Path("flame.svg"),
) -> None:
    """Of a stack that is started and loaded for it; of the process `pid`, which others load, if it is given."""
    try:
        if pid is not None:
            record(pid, seconds, out, format)
        else:
            record_loaded(kind, row, clients, seconds, out, format)
    except Unseen as error:
        sys.exit(str(error))
    print(f"written to {out}")


def record(pid: int, seconds: int, out: Path, format: Format = "flamegraph") -> None:
    """Only what runs: who waits is not sampled. Raises `Unseen`."""
    command = [str(SPY), "record", "--pid", str(pid), "--duration", str(seconds), "--rate", str(RATE)]
    done = subprocess.run([*command, "--format", format, "--output", str(out)], capture_output=True, text=True)
    said = done.stderr + done.stdout
    if any(words in said for words in REFUSED):
        raise Unseen(f"{RIGHTS} It says: {said.strip()}")
    if done.returncode or not out.exists():
        raise Unseen(f"py-spy ended with {done.returncode}:\n{said.strip()}")


def record_loaded(kind: str, row: str, clients: int, seconds: int, out: Path, format: Format) -> None:
    with samovar(models=[MODELS], environ={"SAMOVAR_BUNDLED": "false"}) as target, ThreadPoolExecutor(1) as pool:
        _load(target, row, clients, 1)  # the model is loaded, and there is a worker
        assert target.pid is not None
        (process, *_) = processes.below(target.pid, kind)
        loading = pool.submit(_load, target, row, clients, seconds + 1)
        record(process.pid, seconds, out, format)
        loading.result()


def _load(target: Target, row: str, clients: int, seconds: float) -> None:
    found = next((each for each in PLAIN if each.name == row), None)
    if found is None:
        raise Unseen(f"there is no row {row}; there are: {'; '.join(each.name for each in PLAIN)}")
    measure(structs.replace(plan(found, target, seconds=seconds, repeats=1), clients=clients), target)
