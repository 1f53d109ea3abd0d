"""The pure plan of which instances share the devices and the memory of one host."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from msgspec import Struct

CPU: Final = "cpu"
CUDA: Final = "cuda"

InstanceKey = tuple[str, int]
"""A service, and the number of one of its instances."""


class Device(Struct, frozen=True, kw_only=True):
    """A GPU, or a group of CPU cores."""

    name: str
    kind: str
    """cpu | cuda"""
    label: str
    """The manufacturer's name for it."""
    memory: int
    """Bytes of it that models may use; for a group of cores, bytes of the host's memory."""
    cores: tuple[int, ...] = ()


class Host(Struct, frozen=True, kw_only=True):
    """The memory and the devices of this host that models may use."""

    memory: int
    """Bytes to plan with."""
    devices: tuple[Device, ...]
    limit: int = 0
    """Bytes that all workers together may ever use: a little more than `memory`, as nobody keeps to a plan exactly."""

    def device(self, name: str) -> Device:
        """Return the device with this name."""
        return next(device for device in self.devices if device.name == name)

    @property
    def kind(self) -> str:
        """The kind of this host's devices: they are all the same."""
        return self.devices[0].kind


class MemoryNeed(Struct, frozen=True, kw_only=True):
    """The bytes that an instance needs."""

    host: int
    device: int
    """Bytes of its device; on a CPU they are the same bytes as `host`."""
    needs_all_devices: bool = False
    """One device was not enough for it, so it gets all of them."""


class Slot(Struct, frozen=True, kw_only=True):
    """The place of an instance on a host: its bytes of the host's memory and of its devices."""

    host: int
    device: dict[str, int]
    """Bytes by device name, in use while the instance is not parked."""


class PlacedInstance(Struct, frozen=True, kw_only=True):
    """An instance that has a slot, as the planner sees it."""

    key: InstanceKey
    slot: Slot
    used_at: float
    can_leave: bool
    """It may be parked or evicted: it is idle, and nothing protects it."""
    is_parked: bool = False
    can_park: bool = False


class Plan(Struct, frozen=True, kw_only=True):
    """A slot for one more instance, and what has to happen before it is free."""

    slot: Slot
    to_park: tuple[InstanceKey, ...] = ()
    """Instances that leave their devices first."""
    to_evict: tuple[InstanceKey, ...] = ()
    """Instances that end first."""


def plan_slot(host: Host, placed: Sequence[PlacedInstance], need: MemoryNeed) -> Plan | None:
    """Plan a slot for one more instance; None means that there is no room now.

    As few instances as possible leave, the least recently used first.
    """
    plans = [plan for slot in candidate_slots(host, need) if (plan := plan_in_slot(host, placed, slot))]
    return min(plans, key=lambda plan: _cost(placed, plan), default=None)


def plan_return(host: Host, placed: Sequence[PlacedInstance], key: InstanceKey) -> Plan | None:
    """Plan the way back for a parked instance, to the slot it had; None means that there is no room now."""
    slot = next(each.slot for each in placed if each.key == key)
    others = [each for each in placed if each.key != key]
    return plan_in_slot(host, others, slot)


def plan_in_slot(host: Host, placed: Sequence[PlacedInstance], slot: Slot) -> Plan | None:
    """Plan which instances have to leave to free exactly this slot; None means that there is no room now."""
    candidates = sorted((each for each in placed if each.can_leave), key=lambda each: each.used_at)
    moving = _off_devices(host, placed, candidates, slot)
    if moving is None:
        return None
    parked = {each.key for each in moving if each.can_park}
    required = {each.key for each in moving if not each.can_park}

    def fits(evicted: set[InstanceKey]) -> bool:
        remaining = [each for each in placed if each.key not in evicted]
        used = sum(resident_bytes(host, each, parked=each.is_parked or each.key in parked) for each in remaining)
        return slot.host + used <= host.memory

    # An instance that is off its device goes before one that would have to be loaded onto a device again.
    order = sorted(candidates, key=lambda each: (not each.is_parked and each.key not in parked, each.used_at))
    evicted = set(required)
    for each in order:
        if fits(evicted):
            break
        evicted.add(each.key)
    if not fits(evicted):
        return None
    evicted = _smallest_set([each.key for each in order if each.key in evicted], required, fits)
    return Plan(slot=slot, to_park=tuple(sorted(parked - evicted)), to_evict=tuple(sorted(evicted)))


def candidate_slots(host: Host, need: MemoryNeed) -> Iterator[Slot]:
    """Yield the slots of an empty host: each device that is large enough, else one slot over as many as it takes."""
    single = [device for device in host.devices if device.memory >= need.device and not need.needs_all_devices]
    for device in single:
        yield Slot(host=need.host, device={device.name: need.device})
    if not single:
        yield _spread_slot(host, need)


def occupied_bytes(placed: Sequence[PlacedInstance], slot: Slot) -> dict[str, int]:
    """Return the bytes that other instances use of each of a slot's devices."""
    return {name: sum(each.slot.device.get(name, 0) for each in placed if not each.is_parked) for name in slot.device}


def enlarge_slot(host: Host, slot: Slot, spare: int) -> Slot:
    """Return the slot with `spare` more bytes of the host's memory, which on a CPU is the device's memory as well."""
    if host.kind == CUDA:
        return Slot(host=slot.host + spare, device=slot.device)
    device = {name: min(size + spare, max(size, host.device(name).memory)) for name, size in slot.device.items()}
    return Slot(host=slot.host + spare, device=device)


def resident_bytes(host: Host, instance: PlacedInstance, *, parked: bool | None = None) -> int:
    """Return the bytes of the host's memory that an instance uses. Once parked, its bytes of a GPU are there too."""
    is_parked = instance.is_parked if parked is None else parked
    on_gpu = is_parked and host.kind == CUDA
    return instance.slot.host + (sum(instance.slot.device.values()) if on_gpu else 0)


def free_bytes(host: Host, placed: Sequence[PlacedInstance]) -> int:
    """Return the bytes of the host's memory that no slot has; negative if the slots have more than there is."""
    return host.memory - sum(resident_bytes(host, each) for each in placed)


def _spread_slot(host: Host, need: MemoryNeed) -> Slot:
    """Spread a slot over devices, the largest first; the rest goes to the host's memory, and then to disk."""
    remaining, device = need.device, dict[str, int]()
    for each in sorted(host.devices, key=lambda device: -device.memory):
        if remaining > 0 or need.needs_all_devices:
            device[each.name] = each.memory
            remaining -= each.memory
    on_host = max(remaining, 0) if host.kind == CUDA else 0
    return Slot(host=min(need.host + on_host, host.memory), device=device)


def _off_devices(
    host: Host, placed: Sequence[PlacedInstance], candidates: Sequence[PlacedInstance], slot: Slot
) -> list[PlacedInstance] | None:
    """Choose the instances that have to leave a device so that each device of the slot has room."""
    active = [each for each in candidates if not each.is_parked]

    def fits(keys: set[InstanceKey]) -> bool:
        used = occupied_bytes([each for each in placed if each.key not in keys], slot)
        return all(used[name] + size <= host.device(name).memory for name, size in slot.device.items())

    keys: set[InstanceKey] = set()
    for each in active:
        if fits(keys):
            break
        if set(each.slot.device) & set(slot.device):
            keys.add(each.key)
    if not fits(keys):
        return None
    keys = _smallest_set([each.key for each in active if each.key in keys], set(), fits)
    return [each for each in active if each.key in keys]


def _smallest_set(
    keys: Sequence[InstanceKey], required: set[InstanceKey], fits: Callable[[set[InstanceKey]], bool]
) -> set[InstanceKey]:
    """Drop the keys that are not needed: the last one added may have made enough room alone."""
    chosen = set(keys) | required
    for key in keys:
        if key not in required and fits(chosen - {key}):
            chosen.discard(key)
    return chosen


def _cost(placed: Sequence[PlacedInstance], plan: Plan) -> tuple[int, int, float, int, tuple[str, ...]]:
    """Rank a plan: by evictions, then by parkings, then by how recently those were used, then by the emptier device."""
    leaving = {*plan.to_park, *plan.to_evict}
    latest = max((each.used_at for each in placed if each.key in leaving), default=0.0)
    crowd = sum(occupied_bytes([each for each in placed if each.key not in leaving], plan.slot).values())
    return len(plan.to_evict), len(plan.to_park), latest, crowd, tuple(plan.slot.device)
