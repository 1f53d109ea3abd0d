"""The status of this host that goes to the gateways: devices, memory, and instances."""

import socket
from collections.abc import Mapping
from typing import Final, Protocol

from runners.placement import devices
from runners.placement.planner import Host
from runners.settings import Settings
from schemas import subjects
from schemas.models import Device, Heartbeat, InstanceStatus

MAX_REASON_CHARS: Final = 500


class InstancePool(Protocol):
    """The instances of this host, as their status needs them."""

    versions: list[str]
    counts: dict[str, int]

    @property
    def edition(self) -> str: ...
    @property
    def ready_services(self) -> list[str]: ...
    @property
    def failures(self) -> dict[str, str]: ...
    @property
    def instances(self) -> list[InstanceStatus]: ...
    @property
    def device_bytes(self) -> dict[str, int]: ...


class MemoryUsage(Protocol):
    """The measured memory of this host's workers."""

    used_bytes: int


class HostStatus:
    """The source of this host's status."""

    def __init__(self, settings: Settings, host: Host, pool: InstancePool, memory: MemoryUsage) -> None:
        self._settings = settings
        self._host = host
        self._pool = pool
        self._memory = memory

    def read(self) -> Heartbeat:
        """Return the status as of now."""
        pool, instances = self._pool, self._pool.instances
        starting = [each for each in instances if each.state == "starting"]
        return Heartbeat(
            agent=self._settings.agent,
            host=socket.gethostname(),
            pool=self._settings.pool,
            versions=pool.versions,
            edition=pool.edition,
            warm=pool.ready_services,
            starting={_service(each): each.phase or "" for each in starting},
            failed={service: reason[:MAX_REASON_CHARS] for service, reason in pool.failures.items()},
            hardware=devices.hardware_name(self._host, self._settings),
            memory=self._host.limit,
            used=self._memory.used_bytes,
            devices=_devices(self._host, pool.device_bytes),
            residents=instances,
            counts=pool.counts,
        )


def _service(instance: InstanceStatus) -> str:
    return instance.version if instance.release is None else subjects.service(instance.release, instance.version)


def _devices(host: Host, planned: Mapping[str, int]) -> list[Device]:
    return [
        Device(
            name=device.name,
            kind=device.label,
            memory=device.memory,
            planned=planned.get(device.name, 0),
            cores=len(device.cores),
        )
        for device in host.devices
    ]
