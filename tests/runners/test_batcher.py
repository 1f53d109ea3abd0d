import asyncio
import time

import pytest
import uvloop

from runners.batching.batcher import Batcher
from runners.batching.call import Call, Death, Wish
from runners.worker.frames import Began, Chunk, Done, Fits, Item, Said
from tests.runners.conftest import eventually


class Bench:
    """A worker that writes down what it is told."""

    def __init__(self) -> None:
        self.frames: list[list[str]] = []
        self.stopped: list[str] = []
        self.killed = asyncio.Event()
        self.paused = False

    def run(self, items: list[Item]) -> None:
        self.frames.append([item.id for item in items])

    def stop(self, ids: list[str]) -> None:
        self.stopped += ids

    def kill(self) -> None:
        self.killed.set()

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False


def a_call(id: str, *, alone: bool = False, input: bytes = b"{}") -> Call:
    return Call(Item(id, input), alone=alone)


def begin(batcher: Batcher, *ids: str) -> None:
    batcher.heard(Began(list(ids), time.time()))


def done(batcher: Batcher, *ids: str, after: float = 1.0) -> None:
    for id in ids:
        batcher.heard(Done(id, time.time() + after, "ok", False, b"1", [], None, {}))


@pytest.mark.parametrize(
    ("size", "calls", "frames"),
    [
        pytest.param(1, "abc", [["a"], ["b"]], id="one runs, one is ready, the third waits"),
        pytest.param(2, "abcdef", [["a"], ["b", "c"]], id="a full batch is made ready while another runs"),
        pytest.param(4, "abcd", [["a"]], id="one that is not full waits for company"),
    ],
)
async def test_what_is_sent_ahead(size: int, calls: str, frames: list[list[str]]) -> None:
    batcher, bench = Batcher(grace=1), Bench()
    batcher.attach(bench, size=size, window=0)
    for id in calls:
        batcher.put(a_call(id))
    assert bench.frames == frames


async def test_what_waits_goes_out_as_one_batch_when_the_worker_is_free() -> None:
    batcher, bench = Batcher(grace=1), Bench()
    batcher.attach(bench, size=4, window=0)
    for id in "abcd":
        batcher.put(a_call(id))
    done(batcher, "a")
    assert bench.frames == [["a"], ["b", "c", "d"]]


async def test_a_window_waits_for_company_and_no_longer_than_that() -> None:
    batcher, bench = Batcher(grace=1), Bench()
    batcher.attach(bench, size=3, window=0.02)
    batcher.put(a_call("a"))
    batcher.put(a_call("b"))
    assert bench.frames == []
    await eventually(lambda: bench.frames)
    assert bench.frames == [["a", "b"]]
    done(batcher, "a", "b")
    for id in "cde":
        batcher.put(a_call(id))
    assert bench.frames[1:] == [["c", "d", "e"]]


async def test_a_window_begins_with_the_oldest_also_while_another_batch_runs() -> None:
    batcher, bench = Batcher(grace=1), Bench()
    batcher.attach(bench, size=2, window=0.02)
    for id in "abc":
        batcher.put(a_call(id))
    late = asyncio.get_running_loop().time() + 0.02
    await eventually(lambda: asyncio.get_running_loop().time() > late)
    assert bench.frames == [["a", "b"]]
    done(batcher, "a", "b")
    assert bench.frames[1:] == [["c"]]


def grouped(*, size: int, window: float) -> tuple[Batcher, Bench]:
    batcher, bench = Batcher(grace=1), Bench()
    batcher.attach(bench, size=size, window=window, batch_by={"width": b"512"})
    return batcher, bench


def put(batcher: Batcher, **inputs: str) -> None:
    for id, input in inputs.items():
        batcher.put(a_call(id, input=input.encode()))


WIDE, NARROW = '{"width": 1024}', '{"width": 512}'


async def test_a_batch_is_of_one_group_in_the_order_of_the_line() -> None:
    batcher, bench = grouped(size=3, window=0)
    put(batcher, a=NARROW, b=WIDE, c=NARROW, d="{}", e=WIDE)
    done(batcher, "a")
    done(batcher, "b", "e")
    assert bench.frames == [["a"], ["b", "e"], ["c", "d"]]


async def test_a_full_group_goes_before_the_oldest_while_that_waits_for_company() -> None:
    batcher, bench = grouped(size=2, window=60)
    put(batcher, a=NARROW, b=WIDE, c=WIDE)
    assert bench.frames == [["b", "c"]]
    put(batcher, d=WIDE, e=NARROW)
    assert bench.frames[1:] == [["a", "e"]]


async def test_the_oldest_is_next_once_its_window_is_over_however_full_another_group_is() -> None:
    batcher, bench = grouped(size=2, window=0.02)
    put(batcher, a=NARROW, b=WIDE, c=WIDE)
    late = asyncio.get_running_loop().time() + 0.05
    await eventually(lambda: asyncio.get_running_loop().time() > late)
    put(batcher, d=WIDE, e=WIDE)
    done(batcher, "b", "c")
    assert bench.frames == [["b", "c"], ["a"], ["d", "e"]]


async def test_more_jobs_are_held_where_they_part_into_groups() -> None:
    assert grouped(size=4, window=0)[0].credit == 16


async def test_what_waits_is_grouped_as_the_next_worker_wants_it() -> None:
    batcher, bench = Batcher(grace=1), Bench()
    put(batcher, a=NARROW, b=WIDE, c=NARROW)
    batcher.attach(bench, size=2, window=0, batch_by={"width": b"512"})
    assert bench.frames == [["a", "c"]]


async def test_no_batch_is_larger_than_what_fits() -> None:
    learnt: list[int] = []
    batcher, bench = Batcher(grace=1, on_fits=learnt.append), Bench()
    batcher.attach(bench, size=8, window=60)
    batcher.heard(Fits(3))
    put(batcher, **dict.fromkeys("abcd", "{}"))
    assert (learnt, bench.frames) == ([3], [["a", "b", "c"]])


@pytest.mark.parametrize("size", [1, 4])
async def test_who_may_kill_workers_is_alone_in_its_worker(size: int) -> None:
    batcher, bench = Batcher(grace=1), Bench()
    for id in "abc":
        batcher.put(a_call(id, alone=id == "b"))
    batcher.attach(bench, size=size, window=0)
    assert bench.frames == [["a"]]
    done(batcher, "a")
    assert bench.frames == [["a"], ["b"]]
    done(batcher, "b")
    assert bench.frames == [["a"], ["b"], ["c"]]


async def test_quick_jobs_are_sent_further_ahead() -> None:
    batcher, bench = Batcher(grace=1), Bench()
    batcher.attach(bench, size=1, window=0)
    assert batcher.credit == 2
    for number in range(100):
        batcher.put(a_call(str(number)))
        begin(batcher, str(number))
        done(batcher, str(number), after=0)
    assert batcher.credit == 64


async def test_a_worker_that_says_too_much_has_to_wait() -> None:
    batcher, bench = Batcher(grace=1), Bench()
    batcher.attach(bench, size=1, window=0)
    call = a_call("a")
    batcher.put(call)
    while not bench.paused:
        batcher.heard(Chunk("a", b"x" * 1_000_000, []))
    assert len(call.take_chunks()) == 5
    batcher.relieve()
    assert not bench.paused


async def test_a_stop_before_its_start_is_answered_at_once() -> None:
    batcher = Batcher(grace=1)
    call = a_call("a")
    batcher.put(call)
    batcher.stop(call, Wish("enough"))
    assert isinstance(call.end, Done)
    assert call.end.status == "stopped"
    bench = Bench()
    batcher.attach(bench, size=1, window=0)
    assert bench.frames == []


async def test_a_batch_that_left_the_line_makes_room_for_the_next() -> None:
    batcher, bench = Batcher(grace=1), Bench()
    batcher.attach(bench, size=2, window=60)
    for id in "abcdef":
        batcher.put(a_call(id))
    done(batcher, "c", "d")
    assert bench.frames == [["a", "b"], ["c", "d"], ["e", "f"]]


async def test_who_does_not_stop_is_killed() -> None:
    batcher, bench = Batcher(grace=0.01), Bench()
    batcher.attach(bench, size=1, window=0)
    call = a_call("a")
    batcher.put(call)
    batcher.stop(call, Wish(None))
    assert bench.stopped == ["a"]
    async with asyncio.timeout(5):
        await bench.killed.wait()
    batcher.detach(Death("killed", ours=True))
    assert isinstance(call.end, Done)


@pytest.mark.parametrize(
    ("began", "ours", "counted"),
    [
        pytest.param("a", False, "a", id="who had begun"),
        pytest.param("", False, "a", id="the first in line when nothing was said of it"),
        pytest.param("", True, "", id="nobody when we killed it before anything began"),
    ],
)
async def test_of_whom_a_worker_died(began: str, ours: bool, counted: str) -> None:
    batcher, bench = Batcher(grace=1), Bench()
    batcher.attach(bench, size=1, window=0)
    calls = [a_call(id) for id in "abc"]
    for call in calls:
        batcher.put(call)
    begin(batcher, *began)
    batcher.detach(Death("died", ours))
    assert "".join(call.id for call in calls if call.end is not None) == counted
    replacement = Bench()
    batcher.attach(replacement, size=1, window=0)
    left = [call.id for call in calls if call.end is None]
    assert replacement.frames == [[id] for id in left[:2]]


def test_a_window_ends_however_early_its_timer_rings() -> None:
    """uvloop's timers may ring before their time by its own clock."""

    async def wait_for_all() -> None:
        benches = [Bench() for _ in range(200)]
        for number, bench in enumerate(benches):
            batcher = Batcher(grace=1)
            batcher.attach(bench, size=2, window=0.001 + number * 0.00001)
            batcher.put(a_call("a"))
        await eventually(lambda: all(bench.frames for bench in benches), within=5)

    uvloop.run(wait_for_all())


async def test_what_nobody_listens_to_is_stopped_and_holds_nobody_up() -> None:
    batcher, bench = Batcher(grace=1), Bench()
    batcher.attach(bench, size=1, window=0)
    call = a_call("a")
    batcher.put(call)
    begin(batcher, "a")
    batcher.leave(call)
    assert bench.stopped == ["a"]
    batcher.heard(Chunk("a", b"x" * 5_000_000, []))
    batcher.heard(Said(["a"], "x" * 5_000_000))
    assert not bench.paused
    assert not call.chunks
    done(batcher, "a")
    assert batcher.idle


async def test_a_worker_that_prints_too_much_has_to_wait() -> None:
    batcher, bench = Batcher(grace=1), Bench()
    batcher.attach(bench, size=1, window=0)
    call = a_call("a")
    batcher.put(call)
    begin(batcher, "a")
    for _ in range(5):
        batcher.heard(Said(["a"], "x" * 1_000_000))
    assert bench.paused
    assert len(call.take_text()) == 5_000_000
    assert call.unread == 0


def batcher_of(slots: int) -> tuple[Batcher, Bench]:
    batcher, bench = Batcher(grace=1), Bench()
    batcher.attach(bench, size=8, window=1, slots=slots)
    return batcher, bench


async def test_slots_are_filled_one_by_one() -> None:
    batcher, bench = batcher_of(3)
    assert batcher.credit == 3
    for id in "abcd":
        batcher.put(a_call(id))
    assert bench.frames == [["a"], ["b"], ["c"]]
    done(batcher, "b")
    assert bench.frames[3:] == [["d"]]


async def test_one_is_ready_beside_the_slots_while_they_are_quick() -> None:
    batcher, _ = batcher_of(3)
    batcher.put(a_call("a"))
    begin(batcher, "a")
    done(batcher, "a", after=0.001)
    assert batcher.credit == 4


async def test_who_may_kill_workers_has_all_slots() -> None:
    batcher, bench = batcher_of(3)
    for id in "abcd":
        batcher.put(a_call(id, alone=id in "bc"))
    assert bench.frames == [["a"]]
    done(batcher, "a")
    assert bench.frames == [["a"], ["b"]]
    done(batcher, "b")
    assert bench.frames == [["a"], ["b"], ["c"]]
    done(batcher, "c")
    assert bench.frames[3:] == [["d"]]


async def test_a_worker_with_slots_dies_of_all_that_had_begun() -> None:
    batcher, _ = batcher_of(3)
    calls = [a_call(id) for id in "abc"]
    for call in calls:
        batcher.put(call)
    begin(batcher, "a")
    begin(batcher, "c")
    batcher.detach(Death("died", ours=False))
    assert [call.id for call in calls if call.end is not None] == ["a", "c"]
    replacement = Bench()
    batcher.attach(replacement, size=1, window=0, slots=3)
    assert replacement.frames == [["b"]]


async def test_who_was_asked_to_stop_is_asked_again() -> None:
    batcher, bench = Batcher(grace=60), Bench()
    batcher.attach(bench, size=1, window=0)
    call = a_call("a")
    batcher.put(call)
    batcher.stop(call, Wish(None))
    await eventually(lambda: len(bench.stopped) == 3)
    done(batcher, "a")
    assert not bench.killed.is_set()


async def test_nothing_runs_until_something_has_begun() -> None:
    batcher, _ = batcher_of(2)
    batcher.put(a_call("a"))
    assert batcher.quiet
    assert not batcher.idle
    begin(batcher, "a")
    assert not batcher.quiet
