"""The plan of slots, as a pure function."""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runners.placement.planner import (
    CPU,
    CUDA,
    Device,
    Host,
    MemoryNeed,
    PlacedInstance,
    Plan,
    Slot,
    free_bytes,
    occupied_bytes,
    plan_return,
    plan_slot,
    resident_bytes,
)

G: Final = 10**9


def cpu(memory: int = 10 * G, groups: int = 1, device: int | None = None) -> Host:
    devices = [Device(name=f"cpu:{n}", kind=CPU, label="", memory=device or memory) for n in range(groups)]
    return Host(memory=memory, devices=tuple(devices))


def gpus(count: int = 1, memory: int = 10 * G, host: int = 20 * G) -> Host:
    devices = [Device(name=f"cuda:{n}", kind=CUDA, label="", memory=memory) for n in range(count)]
    return Host(memory=host, devices=tuple(devices))


def on(
    name: str,
    device: str,
    size: int,
    *,
    host: int | None = None,
    used: float = 0.0,
    can_leave: bool = True,
    parked: bool = False,
    parkable: bool = True,
) -> PlacedInstance:
    slot = Slot(host=size if host is None else host, device={device: size})
    return PlacedInstance(
        key=(name, 0), slot=slot, used_at=used, can_leave=can_leave, is_parked=parked, can_park=parkable
    )


def need(device: int, host: int | None = None, *, whole: bool = False) -> MemoryNeed:
    return MemoryNeed(host=device if host is None else host, device=device, needs_all_devices=whole)


def test_an_empty_host_gives_a_slot_and_nothing_leaves() -> None:
    assert plan_slot(cpu(), [], need(4 * G)) == Plan(slot=Slot(host=4 * G, device={"cpu:0": 4 * G}))


def test_the_emptier_device_is_taken() -> None:
    result = plan_slot(gpus(2), [on("a", "cuda:0", 4 * G)], need(4 * G, G))
    assert result is not None
    assert list(result.slot.device) == ["cuda:1"]


def test_the_most_recently_used_instance_stays() -> None:
    placed = [on("old", "cpu:0", 5 * G, used=1), on("new", "cpu:0", 5 * G, used=2)]
    result = plan_slot(cpu(), placed, need(5 * G))
    assert result is not None
    assert (result.to_park, result.to_evict) == ((), (("old", 0),))


def test_a_device_of_the_hosts_own_memory_is_not_emptied_by_parking() -> None:
    """It would be there all the same."""
    result = plan_slot(cpu(), [on("a", "cpu:0", 8 * G)], need(5 * G))
    assert result is not None
    assert result.to_evict == (("a", 0),)


def test_a_group_of_cores_with_less_than_the_host_is_emptied_by_parking() -> None:
    result = plan_slot(cpu(device=5 * G), [on("a", "cpu:0", 4 * G)], need(4 * G))
    assert result is not None
    assert (result.to_park, result.to_evict) == ((("a", 0),), ())


def test_a_gpu_is_emptied_by_parking_while_the_host_has_room() -> None:
    placed = [on("a", "cuda:0", 8 * G, host=2 * G)]
    roomy = plan_slot(gpus(), placed, need(8 * G, 2 * G))
    tight = plan_slot(gpus(host=8 * G), placed, need(8 * G, 2 * G))
    assert roomy is not None
    assert tight is not None
    assert (roomy.to_park, roomy.to_evict) == ((("a", 0),), ())
    assert (tight.to_park, tight.to_evict) == ((), (("a", 0),))


def test_a_parked_instance_ends_before_an_active_one() -> None:
    placed = [on("hot", "cpu:0", 4 * G, used=1), on("parked", "cpu:0", 4 * G, used=2, parked=True)]
    result = plan_slot(cpu(device=8 * G), placed, need(4 * G))
    assert result is not None
    assert result.to_evict == (("parked", 0),)


def test_a_large_instance_leaves_alone_if_that_is_enough() -> None:
    placed = [on("small", "cpu:0", G, used=1), on("large", "cpu:0", 8 * G, used=2)]
    result = plan_slot(cpu(), placed, need(7 * G))
    assert result is not None
    assert result.to_evict == (("large", 0),)


@pytest.mark.parametrize(
    ("placed", "wanted"),
    [
        pytest.param([on("a", "cpu:0", 8 * G, can_leave=False)], 4 * G, id="it works"),
        pytest.param(
            [on("a", "cpu:0", 2 * G, can_leave=False), on("b", "cpu:0", 8 * G)], 9 * G, id="too little leaves"
        ),
    ],
)
def test_there_may_be_no_room_now(placed: list[PlacedInstance], wanted: int) -> None:
    assert plan_slot(cpu(), placed, need(wanted)) is None


def test_a_need_beyond_all_devices_is_spread_and_the_rest_goes_to_the_hosts_memory() -> None:
    result = plan_slot(gpus(2), [], need(25 * G, 2 * G))
    assert result is not None
    assert result.slot == Slot(host=7 * G, device={"cuda:0": 10 * G, "cuda:1": 10 * G})


def test_a_spread_slot_uses_no_more_devices_than_it_needs() -> None:
    result = plan_slot(gpus(4), [], need(15 * G, 2 * G))
    assert result is not None
    assert list(result.slot.device) == ["cuda:0", "cuda:1"]


def test_a_need_for_all_devices_gets_them() -> None:
    result = plan_slot(gpus(2), [], need(4 * G, 2 * G, whole=True))
    assert result is not None
    assert list(result.slot.device) == ["cuda:0", "cuda:1"]


def test_a_parked_instance_returns_to_its_slot() -> None:
    placed = [on("a", "cuda:0", 8 * G, host=G, parked=True), on("b", "cuda:0", 8 * G, host=G, used=3)]
    result = plan_return(gpus(), placed, ("a", 0))
    assert result is not None
    assert (result.slot, result.to_park) == (placed[0].slot, (("b", 0),))


sizes = st.integers(0, 12).map(lambda n: n * G)
placed_rows = st.lists(
    st.tuples(st.integers(0, 1), sizes, sizes, st.floats(0, 9), st.booleans(), st.booleans(), st.booleans()), max_size=6
)


@given(kind=st.sampled_from([CPU, CUDA]), rows=placed_rows, wanted=st.tuples(sizes, sizes))
def test_a_plan_fits_and_moves_only_instances_that_can_leave(
    kind: str, rows: list[tuple], wanted: tuple[int, int]
) -> None:
    host = cpu(12 * G, 2, 8 * G) if kind == CPU else gpus(2, 8 * G, 12 * G)
    placed = [
        PlacedInstance(
            key=(str(n), 0),
            slot=Slot(host=host_bytes, device={host.devices[where].name: min(device, 8 * G)}),
            used_at=used,
            can_leave=can_leave,
            is_parked=parked,
            can_park=parkable,
        )
        for n, (where, host_bytes, device, used, can_leave, parked, parkable) in enumerate(rows)
    ]
    result = plan_slot(host, placed, MemoryNeed(host=wanted[0], device=wanted[1]))
    if result is None:
        return
    can_leave = {each.key for each in placed if each.can_leave}
    assert set(result.to_park) | set(result.to_evict) <= can_leave
    after = [
        PlacedInstance(
            key=each.key,
            slot=each.slot,
            used_at=each.used_at,
            can_leave=False,
            is_parked=each.is_parked or each.key in result.to_park,
        )
        for each in placed
        if each.key not in result.to_evict
    ]
    there = occupied_bytes(after, result.slot)
    before = occupied_bytes(placed, result.slot)
    for name, size in result.slot.device.items():
        assert there[name] + size <= 8 * G or there[name] == before[name] == 0
    assert sum(resident_bytes(host, each) for each in after) + result.slot.host <= host.memory
    assert free_bytes(host, after) >= result.slot.host
