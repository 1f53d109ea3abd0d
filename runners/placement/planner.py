"""Who sits where: a pure plan of the devices and the memory of one host."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from msgspec import Struct

CPU: Final = "cpu"
CUDA: Final = "cuda"

Key = tuple[str, int]
"""A service, and which of its instances."""


class Device(Struct, frozen=True, kw_only=True):
    """A GPU, or a group of cores."""

    name: str
    kind: str
    """cpu | cuda"""
    label: str
    """As its maker calls it."""
    memory: int
    """Bytes that models may take of it; of a group of cores, of the host's."""
    cores: tuple[int, ...] = ()


class Host(Struct, frozen=True, kw_only=True):
    memory: int
    """Bytes that are given out."""
    devices: tuple[Device, ...]
    limit: int = 0
    """Bytes that all workers together may ever have: a little more, as nobody keeps quite to what it was given."""

    def device(self, name: str) -> Device:
        return next(device for device in self.devices if device.name == name)

    @property
    def kind(self) -> str:
        return self.devices[0].kind


class Need(Struct, frozen=True, kw_only=True):
    """Bytes that an instance takes."""

    host: int
    device: int
    """Of its device; on a CPU the same bytes as `host`."""
    whole: bool = False
    """One device was not enough for it: it gets all there is."""


class Seat(Struct, frozen=True, kw_only=True):
    """What an instance is given."""

    host: int
    device: dict[str, int]
    """By the names of its devices, while it is hot."""


class Sitting(Struct, frozen=True, kw_only=True):
    """An instance that has a seat, as the plan sees it."""

    key: Key
    seat: Seat
    used_at: float
    leavable: bool
    """It may be asked to go: it does not work, and nothing protects it."""
    parked: bool = False
    parkable: bool = False


class Plan(Struct, frozen=True, kw_only=True):
    seat: Seat
    parked: tuple[Key, ...] = ()
    """These leave their devices first."""
    evicted: tuple[Key, ...] = ()
    """These end first."""


def plan(host: Host, sitting: Sequence[Sitting], need: Need) -> Plan | None:
    """A seat for one more, and who has to leave for it; None: not now.

    Whoever was used last leaves last, and as few as possible do.
    """
    plans = [found for seat in seats(host, sitting, need) if (found := within(host, sitting, seat))]
    return min(plans, key=lambda plan: _cost(host, sitting, plan), default=None)


def back(host: Host, sitting: Sequence[Sitting], key: Key) -> Plan | None:
    """The same for one that is parked: where it was."""
    seat = next(each.seat for each in sitting if each.key == key)
    others = [each for each in sitting if each.key != key]
    return within(host, others, seat)


def within(host: Host, sitting: Sequence[Sitting], seat: Seat) -> Plan | None:
    """Who has to leave for this very seat; None: not now."""
    leavers = sorted((each for each in sitting if each.leavable), key=lambda each: each.used_at)
    off = _off_devices(host, sitting, leavers, seat)
    if off is None:
        return None
    parked = {each.key for each in off if each.parkable}
    gone = {each.key for each in off if not each.parkable}

    def short(evicted: set[Key]) -> int:
        stay = [each for each in sitting if each.key not in evicted]
        held = sum(resident(host, each, parked=each.parked or each.key in parked) for each in stay)
        return seat.host + held - host.memory

    # Who is off its device already goes before who would have to be loaded again from there.
    order = sorted(leavers, key=lambda each: (not each.parked and each.key not in parked, each.used_at))
    for each in order:
        if short(gone) <= 0:
            break
        gone.add(each.key)
    if short(gone) > 0:
        return None
    must = {each.key for each in off if not each.parkable}
    gone = _fewest([each.key for each in order if each.key in gone], must, lambda keys: short(keys) <= 0)
    return Plan(seat=seat, parked=tuple(sorted(parked - gone)), evicted=tuple(sorted(gone)))


def seats(host: Host, sitting: Sequence[Sitting], need: Need) -> Iterator[Seat]:
    """Where it could go, were everybody to leave: one device if one is large enough, else as many as it takes."""
    single = [device for device in host.devices if device.memory >= need.device and not need.whole]
    for device in single:
        yield Seat(host=need.host, device={device.name: need.device})
    if not single:
        yield _spread(host, need)


def occupied_bytes(host: Host, sitting: Sequence[Sitting], seat: Seat) -> dict[str, int]:
    """Bytes of each of a seat's devices that others have."""
    return {name: sum(each.seat.device.get(name, 0) for each in sitting if not each.parked) for name in seat.device}


def larger(host: Host, seat: Seat, spare: int) -> Seat:
    """The same with more of the host's memory, which on a CPU is the device's as well."""
    if host.kind == CUDA:
        return Seat(host=seat.host + spare, device=seat.device)
    device = {name: min(size + spare, max(size, host.device(name).memory)) for name, size in seat.device.items()}
    return Seat(host=seat.host + spare, device=device)


def resident(host: Host, each: Sitting, *, parked: bool | None = None) -> int:
    """Bytes of the host's memory that it has. What a GPU had is there too once it is parked."""
    away = each.parked if parked is None else parked
    return each.seat.host + (sum(each.seat.device.values()) if away and host.kind == CUDA else 0)


def free(host: Host, sitting: Sequence[Sitting]) -> int:
    """Bytes of the host's memory that nobody was given; less than nothing if too much was."""
    return host.memory - sum(resident(host, each) for each in sitting)


def _spread(host: Host, need: Need) -> Seat:
    """Over devices, the largest first; what is left over goes to the host's memory, and then to disk."""
    left, device = need.device, dict[str, int]()
    for each in sorted(host.devices, key=lambda device: -device.memory):
        if left > 0 or need.whole:
            device[each.name] = each.memory
            left -= each.memory
    rest = max(left, 0) if host.kind == CUDA else 0
    return Seat(host=min(need.host + rest, host.memory), device=device)


def _off_devices(
    host: Host, sitting: Sequence[Sitting], leavers: Sequence[Sitting], seat: Seat
) -> list[Sitting] | None:
    """Who has to leave a device, so that each has room."""
    hot = [each for each in leavers if not each.parked]

    def enough(keys: set[Key]) -> bool:
        there = occupied_bytes(host, [each for each in sitting if each.key not in keys], seat)
        return all(there[name] + given <= host.device(name).memory for name, given in seat.device.items())

    keys: set[Key] = set()
    for each in hot:
        if enough(keys):
            break
        if set(each.seat.device) & set(seat.device):
            keys.add(each.key)
    if not enough(keys):
        return None
    keys = _fewest([each.key for each in hot if each.key in keys], set(), enough)
    return [each for each in hot if each.key in keys]


def _fewest(keys: Sequence[Key], must: set[Key], enough: Callable[[set[Key]], bool]) -> set[Key]:
    """Without those that it would do without: whoever came last may have made enough room alone."""
    chosen = set(keys) | must
    for key in keys:
        if key not in must and enough(chosen - {key}):
            chosen.discard(key)
    return chosen


def _cost(host: Host, sitting: Sequence[Sitting], plan: Plan) -> tuple[int, int, float, int, tuple[str, ...]]:
    """The cheaper plan ends fewer, then parks fewer, then takes those unused for longest, then the emptier device."""
    leaving = {*plan.parked, *plan.evicted}
    latest = max((each.used_at for each in sitting if each.key in leaving), default=0.0)
    crowd = sum(occupied_bytes(host, [each for each in sitting if each.key not in leaving], plan.seat).values())
    return len(plan.evicted), len(plan.parked), latest, crowd, tuple(plan.seat.device)
