"""The hardware of this host that models may use: its memory, and its GPUs or groups of CPU cores."""

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

HOST_MEMORY_SHARE: Final = 0.8  # the rest is for the system, and for the parts of Samovar that run beside
PLANNED_SHARE: Final = 0.95  # of that; the rest is for workers that grow before they are measured
GPU_MEMORY_SHARE: Final = 0.92  # contexts and fragments take the rest
CORES_PER_GROUP: Final = 8  # more threads than that rarely make one model faster
_CGROUPS: Final = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def detect_host(settings: Settings) -> Host:
    """Return the memory and the devices of this host, as far as the settings let models use them."""
    limit = settings.memory_bytes or int(_available_memory() * HOST_MEMORY_SHARE)
    memory = int(limit * PLANNED_SHARE)
    return Host(memory=memory, limit=limit, devices=tuple(_gpus(settings)) or _core_groups(settings, memory))


def hardware_name(host: Host, settings: Settings) -> str:
    """Return what deployments call a host like this one: `cpu`, `gpu-l40s`, `gpu-l40s-2x`."""
    if settings.hardware is not None:
        return settings.hardware
    if host.kind == CPU:
        return CPU
    label = re.sub("[^a-z0-9]+", "-", host.devices[0].label.lower().removeprefix("nvidia")).strip("-")
    return f"gpu-{label or 'unknown'}" + (f"-{len(host.devices)}x" if len(host.devices) > 1 else "")


def thread_count(host: Host, device: Device, settings: Settings) -> int:
    """Return how many threads a worker may compute with on a device.

    On a host with one device, a worker leaves one core to the agent that feeds it.
    """
    if settings.threads:
        return settings.threads
    cores = len(device.cores) or os.cpu_count() or 1
    if device.kind == CUDA:
        return max(1, cores // len(host.devices))
    return max(1, cores - 1) if len(host.devices) == 1 else cores


def _available_memory() -> int:
    """Return the bytes of this host, or those that our container may use."""
    limits = [psutil.virtual_memory().total]
    for file in _CGROUPS:
        with suppress(OSError, ValueError):
            limits.append(int(file.read_text()))
    return min(limits)


def _usable_cores() -> list[int]:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def _core_groups(settings: Settings, memory: int) -> tuple[Device, ...]:
    cores = _usable_cores()
    count = settings.cpu_devices or max(1, len(cores) // CORES_PER_GROUP)
    group_memory = settings.device_memory_bytes or memory
    groups = [_group_cores(cores, number, count) for number in range(count)]
    return tuple(
        Device(
            name=f"cpu:{number}",
            kind=CPU,
            label=_processor_name(),
            memory=min(group_memory, memory),
            cores=tuple(group),
        )
        for number, group in enumerate(groups)
    )


def _group_cores(cores: Sequence[int], number: int, groups: int) -> Sequence[int]:
    """Return neighboring cores for a group. If there are more groups than cores, some groups share a core."""
    if groups > len(cores):
        return [cores[number % len(cores)]]
    return cores[number * len(cores) // groups : (number + 1) * len(cores) // groups]


def _processor_name() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def _gpus(settings: Settings) -> list[Device]:
    """Return the GPUs that NVML lists and `CUDA_VISIBLE_DEVICES` does not exclude."""
    nvml: Any = pynvml
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        log.debug("found no GPUs", reason=str(error))
        return []
    try:
        handles = {number: nvml.nvmlDeviceGetHandleByIndex(number) for number in range(nvml.nvmlDeviceGetCount())}
        return [
            Device(
                name=f"cuda:{number}",
                kind=CUDA,
                label=str(nvml.nvmlDeviceGetName(handle)),
                memory=settings.device_memory_bytes
                or int(nvml.nvmlDeviceGetMemoryInfo(handle).total * GPU_MEMORY_SHARE),
            )
            for number, handle in handles.items()
            if _is_visible(number, str(nvml.nvmlDeviceGetUUID(handle)))
        ]
    finally:
        nvml.nvmlShutdown()


def _is_visible(number: int, uuid: str) -> bool:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return True
    return any(name in (str(number), uuid) for name in map(str.strip, visible.split(",")))
