"""What a worker is told of its seat, and what it is held to."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct, json

from runners.placement import devices
from runners.placement.planner import CPU, CUDA, Host, Seat, Sitting, occupied_bytes
from runners.settings import Settings
from runners.worker.frames import Placement

OVERHEAD: Final = 400_000_000  # bytes of a process with its libraries, before the first weight
VARIABLE: Final = "SAMOVAR_PLACEMENT"


class Given(Struct, frozen=True, kw_only=True):
    """To one worker, before it starts."""

    variables: Mapping[str, str] = {}
    cores: Sequence[int] = ()
    """Those that it may run on; none: all."""
    wall: int | None = None
    """Bytes that it may allocate."""


def given(host: Host, seat: Seat, others: Sequence[Sitting], settings: Settings, offload: Path) -> Given:
    """Of its devices it may have more than its seat, as far as nobody else was given it: it may be the first time."""
    names = list(seat.device)
    first = host.device(names[0])
    there = occupied_bytes(host, others, seat)
    most = {name: max(size, host.device(name).memory - there[name]) for name, size in seat.device.items()}
    placement = Placement(
        device=first.kind,
        max_memory=_max_memory(host, seat, most),
        threads=devices.threads(host, first, settings),
        offload=str(offload),
    )
    variables = {VARIABLE: json.encode(placement).decode()}
    if first.kind == CUDA:
        variables["CUDA_VISIBLE_DEVICES"] = ",".join(name.partition(":")[2] for name in names)
        variables["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    cores = first.cores if first.kind == CPU and len(host.devices) > 1 else ()
    return Given(variables=variables, cores=cores)


def _max_memory(host: Host, seat: Seat, most: Mapping[str, int]) -> dict[str, int]:
    """As accelerate takes it: what weights may have, which is less than what the process has."""
    if host.kind == CPU:
        size = sum(most.values())
        return {CPU: max(size - OVERHEAD, size // 2)}
    sizes = {str(number): size for number, size in enumerate(most.values())}
    return {**sizes, CPU: max(seat.host - OVERHEAD, seat.host // 2)}
