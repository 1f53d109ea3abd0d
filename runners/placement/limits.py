"""The memory limits and the placement that a worker process is started with."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct, json

from runners.placement import devices
from runners.placement.planner import CPU, CUDA, Host, PlacedInstance, Slot, occupied_bytes
from runners.settings import Settings
from runners.worker.frames import Placement

PROCESS_OVERHEAD_BYTES: Final = 400_000_000  # of a process with its libraries, before the first weight
PLACEMENT_VARIABLE: Final = "SAMOVAR_PLACEMENT"


class WorkerLimits(Struct, frozen=True, kw_only=True):
    """The limits of one worker process, set before it starts."""

    variables: Mapping[str, str] = {}
    cores: Sequence[int] = ()
    """The cores that it may run on; empty means all."""
    memory_limit: int | None = None
    """Bytes that it may allocate."""


def worker_limits(
    host: Host, slot: Slot, others: Sequence[PlacedInstance], settings: Settings, offload: Path
) -> WorkerLimits:
    """Return the limits of a worker in `slot`; weights that fit nowhere else go into the folder `offload`.

    On its devices it may use more than its slot, as far as no other slot has it: its need may be unmeasured.
    """
    names = list(slot.device)
    first = host.device(names[0])
    used = occupied_bytes(others, slot)
    available = {name: max(size, host.device(name).memory - used[name]) for name, size in slot.device.items()}
    placement = Placement(
        device=first.kind,
        max_memory=_max_memory(host, slot, available),
        threads=devices.thread_count(host, first, settings),
        offload=str(offload),
    )
    variables = {PLACEMENT_VARIABLE: json.encode(placement).decode()}
    if first.kind == CUDA:
        variables["CUDA_VISIBLE_DEVICES"] = ",".join(name.partition(":")[2] for name in names)
        variables["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    cores = first.cores if first.kind == CPU and len(host.devices) > 1 else ()
    return WorkerLimits(variables=variables, cores=cores)


def _max_memory(host: Host, slot: Slot, available: Mapping[str, int]) -> dict[str, int]:
    """Return the bytes that weights may use, as accelerate's `max_memory`: less than the whole process may."""
    if host.kind == CPU:
        size = sum(available.values())
        return {CPU: max(size - PROCESS_OVERHEAD_BYTES, size // 2)}
    sizes = {str(number): size for number, size in enumerate(available.values())}
    return {**sizes, CPU: max(slot.host - PROCESS_OVERHEAD_BYTES, slot.host // 2)}
