"""The plan of who sits where, as a pure function."""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runners.placement.planner import (
    CPU,
    CUDA,
    Device,
    Host,
    Need,
    Plan,
    Seat,
    Sitting,
    back,
    free,
    occupied_bytes,
    plan,
    resident,
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
    leavable: bool = True,
    parked: bool = False,
    parkable: bool = True,
) -> Sitting:
    seat = Seat(host=size if host is None else host, device={device: size})
    return Sitting(key=(name, 0), seat=seat, used_at=used, leavable=leavable, parked=parked, parkable=parkable)


def need(device: int, host: int | None = None, *, whole: bool = False) -> Need:
    return Need(host=device if host is None else host, device=device, whole=whole)


def test_an_empty_host_gives_a_seat_and_asks_nobody_to_leave() -> None:
    assert plan(cpu(), [], need(4 * G)) == Plan(seat=Seat(host=4 * G, device={"cpu:0": 4 * G}))


def test_the_emptier_device_is_taken() -> None:
    found = plan(gpus(2), [on("a", "cuda:0", 4 * G)], need(4 * G, G))
    assert found is not None
    assert list(found.seat.device) == ["cuda:1"]


def test_who_was_used_last_stays() -> None:
    sitting = [on("old", "cpu:0", 5 * G, used=1), on("new", "cpu:0", 5 * G, used=2)]
    found = plan(cpu(), sitting, need(5 * G))
    assert found is not None
    assert (found.parked, found.evicted) == ((), (("old", 0),))


def test_a_device_of_the_hosts_own_memory_is_not_emptied_by_parking() -> None:
    """It would be there all the same."""
    found = plan(cpu(), [on("a", "cpu:0", 8 * G)], need(5 * G))
    assert found is not None
    assert found.evicted == (("a", 0),)


def test_a_group_of_cores_with_less_than_the_host_is_emptied_by_parking() -> None:
    found = plan(cpu(device=5 * G), [on("a", "cpu:0", 4 * G)], need(4 * G))
    assert found is not None
    assert (found.parked, found.evicted) == ((("a", 0),), ())


def test_a_gpu_is_emptied_by_parking_while_the_host_has_room() -> None:
    sitting = [on("a", "cuda:0", 8 * G, host=2 * G)]
    roomy = plan(gpus(), sitting, need(8 * G, 2 * G))
    tight = plan(gpus(host=8 * G), sitting, need(8 * G, 2 * G))
    assert roomy is not None
    assert tight is not None
    assert (roomy.parked, roomy.evicted) == ((("a", 0),), ())
    assert (tight.parked, tight.evicted) == ((), (("a", 0),))


def test_who_is_parked_ends_before_who_is_hot() -> None:
    sitting = [on("hot", "cpu:0", 4 * G, used=1), on("parked", "cpu:0", 4 * G, used=2, parked=True)]
    found = plan(cpu(device=8 * G), sitting, need(4 * G))
    assert found is not None
    assert found.evicted == (("parked", 0),)


def test_one_large_leaver_spares_the_small_ones() -> None:
    sitting = [on("small", "cpu:0", G, used=1), on("large", "cpu:0", 8 * G, used=2)]
    found = plan(cpu(), sitting, need(7 * G))
    assert found is not None
    assert found.evicted == (("large", 0),)


@pytest.mark.parametrize(
    ("sitting", "wanted"),
    [
        pytest.param([on("a", "cpu:0", 8 * G, leavable=False)], 4 * G, id="it works"),
        pytest.param([on("a", "cpu:0", 2 * G, leavable=False), on("b", "cpu:0", 8 * G)], 9 * G, id="too little leaves"),
    ],
)
def test_there_may_be_no_room_now(sitting: list[Sitting], wanted: int) -> None:
    assert plan(cpu(), sitting, need(wanted)) is None


def test_what_no_device_holds_is_spread_and_the_rest_lies_in_the_hosts_memory() -> None:
    found = plan(gpus(2), [], need(25 * G, 2 * G))
    assert found is not None
    assert found.seat == Seat(host=7 * G, device={"cuda:0": 10 * G, "cuda:1": 10 * G})


def test_it_takes_no_more_devices_than_it_needs() -> None:
    found = plan(gpus(4), [], need(15 * G, 2 * G))
    assert found is not None
    assert list(found.seat.device) == ["cuda:0", "cuda:1"]


def test_what_could_not_be_set_up_on_one_gets_all() -> None:
    found = plan(gpus(2), [], need(4 * G, 2 * G, whole=True))
    assert found is not None
    assert list(found.seat.device) == ["cuda:0", "cuda:1"]


def test_who_was_parked_comes_back_to_where_it_was() -> None:
    sitting = [on("a", "cuda:0", 8 * G, host=G, parked=True), on("b", "cuda:0", 8 * G, host=G, used=3)]
    found = back(gpus(), sitting, ("a", 0))
    assert found is not None
    assert (found.seat, found.parked) == (sitting[0].seat, (("b", 0),))


sizes = st.integers(0, 12).map(lambda n: n * G)
sittings = st.lists(
    st.tuples(st.integers(0, 1), sizes, sizes, st.floats(0, 9), st.booleans(), st.booleans(), st.booleans()), max_size=6
)


@given(kind=st.sampled_from([CPU, CUDA]), rows=sittings, wanted=st.tuples(sizes, sizes))
def test_a_plan_fits_and_ends_nobody_who_may_not_leave(kind: str, rows: list[tuple], wanted: tuple[int, int]) -> None:
    host = cpu(12 * G, 2, 8 * G) if kind == CPU else gpus(2, 8 * G, 12 * G)
    sitting = [
        Sitting(
            key=(str(n), 0),
            seat=Seat(host=seat, device={host.devices[where].name: min(device, 8 * G)}),
            used_at=used,
            leavable=leavable,
            parked=parked,
            parkable=parkable,
        )
        for n, (where, seat, device, used, leavable, parked, parkable) in enumerate(rows)
    ]
    found = plan(host, sitting, Need(host=wanted[0], device=wanted[1]))
    if found is None:
        return
    leavable = {each.key for each in sitting if each.leavable}
    assert set(found.parked) | set(found.evicted) <= leavable
    after = [
        Sitting(
            key=each.key,
            seat=each.seat,
            used_at=each.used_at,
            leavable=False,
            parked=each.parked or each.key in found.parked,
        )
        for each in sitting
        if each.key not in found.evicted
    ]
    there = occupied_bytes(host, after, found.seat)
    before = occupied_bytes(host, sitting, found.seat)
    for name, size in found.seat.device.items():
        assert there[name] + size <= 8 * G or there[name] == before[name] == 0
    assert sum(resident(host, each) for each in after) + found.seat.host <= host.memory
    assert free(host, after) >= found.seat.host
