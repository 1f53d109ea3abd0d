"""What this host has for models: its memory, and its GPUs or groups of cores."""

import os
import platform
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import psutil
import pynvml
import structlog

from runners.placement.planner import CPU, CUDA, Device, Host
from runners.settings import Settings

log = structlog.stdlib.get_logger()

SHARE: Final = 0.8  # of the host's memory; the rest is for the system, and for what of Samovar runs beside
GIVEN: Final = 0.95  # of that; the rest is for growing before anybody has looked
GPU_SHARE: Final = 0.92  # of a GPU's memory; contexts and fragments take the rest
GROUP: Final = 8  # cores; more threads than that rarely make one model quicker
_CGROUPS: Final = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def found(settings: Settings) -> Host:
    limit = settings.memory_bytes or int(_memory() * SHARE)
    memory = int(limit * GIVEN)
    return Host(memory=memory, limit=limit, devices=tuple(_gpus(settings)) or _groups(settings, memory))


def hardware(host: Host, settings: Settings) -> str:
    """What deployments call a host like this one: `cpu`, `gpu-l40s`, `gpu-l40s-2x`."""
    if settings.hardware is not None:
        return settings.hardware
    if host.kind == CPU:
        return CPU
    label = re.sub("[^a-z0-9]+", "-", host.devices[0].label.lower().removeprefix("nvidia")).strip("-")
    return f"gpu-{label or 'unknown'}" + (f"-{len(host.devices)}x" if len(host.devices) > 1 else "")


def threads(host: Host, device: Device, settings: Settings) -> int:
    """How many a worker may use there. Alone on its host it leaves a core to whatever feeds it."""
    if settings.threads:
        return settings.threads
    cores = len(device.cores) or os.cpu_count() or 1
    if device.kind == CUDA:
        return max(1, cores // len(host.devices))
    return max(1, cores - 1) if len(host.devices) == 1 else cores


def _memory() -> int:
    """What there is, or what the container that we are in may take of it."""
    limits = [psutil.virtual_memory().total]
    for file in _CGROUPS:
        with suppress(OSError, ValueError):
            limits.append(int(file.read_text()))
    return min(limits)


def _cores() -> list[int]:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def _groups(settings: Settings, memory: int) -> tuple[Device, ...]:
    cores = _cores()
    wanted = settings.cpu_devices or max(1, len(cores) // GROUP)
    each = settings.device_memory_bytes or memory
    shares = [_share(cores, number, wanted) for number in range(wanted)]
    return tuple(
        Device(name=f"cpu:{number}", kind=CPU, label=_processor(), memory=min(each, memory), cores=tuple(share))
        for number, share in enumerate(shares)
    )


def _share(cores: Sequence[int], number: int, groups: int) -> Sequence[int]:
    """Cores that are neighbours. More groups than cores share some."""
    if groups > len(cores):
        return [cores[number % len(cores)]]
    return cores[number * len(cores) // groups : (number + 1) * len(cores) // groups]


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def _gpus(settings: Settings) -> list[Device]:
    """As NVML tells of them; those that `CUDA_VISIBLE_DEVICES` leaves out are not ours."""
    nvml: Any = pynvml
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        log.debug("no GPUs", reason=str(error))
        return []
    try:
        handles = {number: nvml.nvmlDeviceGetHandleByIndex(number) for number in range(nvml.nvmlDeviceGetCount())}
        return [
            Device(
                name=f"cuda:{number}",
                kind=CUDA,
                label=str(nvml.nvmlDeviceGetName(handle)),
                memory=settings.device_memory_bytes or int(nvml.nvmlDeviceGetMemoryInfo(handle).total * GPU_SHARE),
            )
            for number, handle in handles.items()
            if _visible(number, str(nvml.nvmlDeviceGetUUID(handle)))
        ]
    finally:
        nvml.nvmlShutdown()


def _visible(number: int, uuid: str) -> bool:
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return True
    return any(name in (str(number), uuid) for name in map(str.strip, named.split(",")))
