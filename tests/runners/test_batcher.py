import asyncio
import time

import pytest
import uvloop

from runners.batching.batcher import Batcher
from runners.batching.call import Call, StopRequest, WorkerDeath
from runners.worker.frames import BatchLimit, Chunk, Done, Item, ItemsStarted, LogText
from tests.runners.conftest import eventually


class FakeWorker:
    """A worker that collects what it is sent."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.stopped: list[str] = []
        self.killed = asyncio.Event()
        self.is_paused = False

    def run(self, items: list[Item]) -> None:
        self.batches.append([item.id for item in items])

    def stop(self, ids: list[str]) -> None:
        self.stopped += ids

    def kill(self) -> None:
        self.killed.set()

    def pause(self) -> None:
        self.is_paused = True

    def resume(self) -> None:
        self.is_paused = False


def make_call(id: str, *, runs_alone: bool = False, input: bytes = b"{}") -> Call:
    return Call(Item(id, input), runs_alone=runs_alone)


def start(batcher: Batcher, *ids: str) -> None:
    batcher.on_frame(ItemsStarted(list(ids), time.time()))


def finish(batcher: Batcher, *ids: str, after: float = 1.0) -> None:
    for id in ids:
        batcher.on_frame(Done(id, time.time() + after, "ok", False, b"1", [], None, {}))


@pytest.mark.parametrize(
    ("size", "calls", "batches"),
    [
        pytest.param(1, "abc", [["a"], ["b"]], id="one runs, one is ready, the third waits"),
        pytest.param(2, "abcdef", [["a"], ["b", "c"]], id="a full batch is made ready while another runs"),
        pytest.param(4, "abcd", [["a"]], id="a batch that is not full waits for more calls"),
    ],
)
async def test_how_much_is_sent_ahead(size: int, calls: str, batches: list[list[str]]) -> None:
    batcher, worker = Batcher(grace=1), FakeWorker()
    batcher.attach(worker, size=size, window=0)
    for id in calls:
        batcher.put(make_call(id))
    assert worker.batches == batches


async def test_waiting_calls_are_sent_as_one_batch_when_the_worker_is_free() -> None:
    batcher, worker = Batcher(grace=1), FakeWorker()
    batcher.attach(worker, size=4, window=0)
    for id in "abcd":
        batcher.put(make_call(id))
    finish(batcher, "a")
    assert worker.batches == [["a"], ["b", "c", "d"]]


async def test_a_batch_waits_for_more_calls_during_its_window_only() -> None:
    batcher, worker = Batcher(grace=1), FakeWorker()
    batcher.attach(worker, size=3, window=0.02)
    batcher.put(make_call("a"))
    batcher.put(make_call("b"))
    assert worker.batches == []
    await eventually(lambda: worker.batches)
    assert worker.batches == [["a", "b"]]
    finish(batcher, "a", "b")
    for id in "cde":
        batcher.put(make_call(id))
    assert worker.batches[1:] == [["c", "d", "e"]]


async def test_a_window_starts_with_the_oldest_call_also_while_another_batch_runs() -> None:
    batcher, worker = Batcher(grace=1), FakeWorker()
    batcher.attach(worker, size=2, window=0.02)
    for id in "abc":
        batcher.put(make_call(id))
    late = asyncio.get_running_loop().time() + 0.02
    await eventually(lambda: asyncio.get_running_loop().time() > late)
    assert worker.batches == [["a", "b"]]
    finish(batcher, "a", "b")
    assert worker.batches[1:] == [["c"]]


def batcher_with_keys(*, size: int, window: float) -> tuple[Batcher, FakeWorker]:
    batcher, worker = Batcher(grace=1), FakeWorker()
    batcher.attach(worker, size=size, window=window, batch_by={"width": b"512"})
    return batcher, worker


def put(batcher: Batcher, **inputs: str) -> None:
    for id, input in inputs.items():
        batcher.put(make_call(id, input=input.encode()))


WIDE, NARROW = '{"width": 1024}', '{"width": 512}'


async def test_a_batch_has_one_key_in_the_order_of_the_queue() -> None:
    batcher, worker = batcher_with_keys(size=3, window=0)
    put(batcher, a=NARROW, b=WIDE, c=NARROW, d="{}", e=WIDE)
    finish(batcher, "a")
    finish(batcher, "b", "e")
    assert worker.batches == [["a"], ["b", "e"], ["c", "d"]]


async def test_a_full_batch_goes_before_the_oldest_call_during_its_window() -> None:
    batcher, worker = batcher_with_keys(size=2, window=60)
    put(batcher, a=NARROW, b=WIDE, c=WIDE)
    assert worker.batches == [["b", "c"]]
    put(batcher, d=WIDE, e=NARROW)
    assert worker.batches[1:] == [["a", "e"]]


async def test_the_oldest_call_is_next_once_its_window_is_over_even_if_another_batch_is_full() -> None:
    batcher, worker = batcher_with_keys(size=2, window=0.02)
    put(batcher, a=NARROW, b=WIDE, c=WIDE)
    late = asyncio.get_running_loop().time() + 0.05
    await eventually(lambda: asyncio.get_running_loop().time() > late)
    put(batcher, d=WIDE, e=WIDE)
    finish(batcher, "b", "c")
    assert worker.batches == [["b", "c"], ["a"], ["d", "e"]]


async def test_credit_is_higher_where_batches_have_keys() -> None:
    assert batcher_with_keys(size=4, window=0)[0].credit == 16


async def test_waiting_calls_get_the_batch_keys_of_the_next_worker() -> None:
    batcher, worker = Batcher(grace=1), FakeWorker()
    put(batcher, a=NARROW, b=WIDE, c=NARROW)
    batcher.attach(worker, size=2, window=0, batch_by={"width": b"512"})
    assert worker.batches == [["a", "c"]]


async def test_no_batch_is_larger_than_its_limit() -> None:
    limits: list[int] = []
    batcher, worker = Batcher(grace=1, on_batch_limit=limits.append), FakeWorker()
    batcher.attach(worker, size=8, window=60)
    batcher.on_frame(BatchLimit(3))
    put(batcher, **dict.fromkeys("abcd", "{}"))
    assert (limits, worker.batches) == ([3], [["a", "b", "c"]])


@pytest.mark.parametrize("size", [1, 4])
async def test_a_call_that_runs_alone_is_alone_in_its_worker(size: int) -> None:
    batcher, worker = Batcher(grace=1), FakeWorker()
    for id in "abc":
        batcher.put(make_call(id, runs_alone=id == "b"))
    batcher.attach(worker, size=size, window=0)
    assert worker.batches == [["a"]]
    finish(batcher, "a")
    assert worker.batches == [["a"], ["b"]]
    finish(batcher, "b")
    assert worker.batches == [["a"], ["b"], ["c"]]


async def test_quick_jobs_are_sent_further_ahead() -> None:
    batcher, worker = Batcher(grace=1), FakeWorker()
    batcher.attach(worker, size=1, window=0)
    assert batcher.credit == 2
    for number in range(100):
        batcher.put(make_call(str(number)))
        start(batcher, str(number))
        finish(batcher, str(number), after=0)
    assert batcher.credit == 64


async def test_a_worker_with_too_much_unread_output_is_paused() -> None:
    batcher, worker = Batcher(grace=1), FakeWorker()
    batcher.attach(worker, size=1, window=0)
    call = make_call("a")
    batcher.put(call)
    while not worker.is_paused:
        batcher.on_frame(Chunk("a", b"x" * 1_000_000, []))
    assert len(call.take_chunks()) == 5
    batcher.resume()
    assert not worker.is_paused


async def test_a_call_that_is_stopped_before_its_start_ends_at_once() -> None:
    batcher = Batcher(grace=1)
    call = make_call("a")
    batcher.put(call)
    batcher.stop(call, StopRequest("enough"))
    assert isinstance(call.outcome, Done)
    assert call.outcome.status == "stopped"
    worker = FakeWorker()
    batcher.attach(worker, size=1, window=0)
    assert worker.batches == []


async def test_a_batch_that_is_done_makes_room_for_the_next() -> None:
    batcher, worker = Batcher(grace=1), FakeWorker()
    batcher.attach(worker, size=2, window=60)
    for id in "abcdef":
        batcher.put(make_call(id))
    finish(batcher, "c", "d")
    assert worker.batches == [["a", "b"], ["c", "d"], ["e", "f"]]


async def test_a_worker_that_does_not_stop_is_killed() -> None:
    batcher, worker = Batcher(grace=0.01), FakeWorker()
    batcher.attach(worker, size=1, window=0)
    call = make_call("a")
    batcher.put(call)
    batcher.stop(call, StopRequest(None))
    assert worker.stopped == ["a"]
    async with asyncio.timeout(5):
        await worker.killed.wait()
    batcher.detach(WorkerDeath("killed", by_agent=True))
    assert isinstance(call.outcome, Done)


@pytest.mark.parametrize(
    ("started", "by_agent", "finished"),
    [
        pytest.param("a", False, "a", id="those that had started"),
        pytest.param("", False, "a", id="the first, if the worker reported no start"),
        pytest.param("", True, "", id="none, if the agent killed it before a start"),
    ],
)
async def test_which_calls_a_dead_worker_finishes(started: str, by_agent: bool, finished: str) -> None:
    batcher, worker = Batcher(grace=1), FakeWorker()
    batcher.attach(worker, size=1, window=0)
    calls = [make_call(id) for id in "abc"]
    for call in calls:
        batcher.put(call)
    start(batcher, *started)
    batcher.detach(WorkerDeath("died", by_agent))
    assert "".join(call.id for call in calls if call.outcome is not None) == finished
    replacement = FakeWorker()
    batcher.attach(replacement, size=1, window=0)
    remaining = [call.id for call in calls if call.outcome is None]
    assert replacement.batches == [[id] for id in remaining[:2]]


def test_a_window_ends_even_if_its_timer_fires_early() -> None:
    """uvloop's timers may ring before their time by its own clock."""

    async def wait_for_all() -> None:
        workers = [FakeWorker() for _ in range(200)]
        for number, worker in enumerate(workers):
            batcher = Batcher(grace=1)
            batcher.attach(worker, size=2, window=0.001 + number * 0.00001)
            batcher.put(make_call("a"))
        await eventually(lambda: all(worker.batches for worker in workers), within=5)

    uvloop.run(wait_for_all())


async def test_an_abandoned_call_is_stopped_and_holds_up_no_other() -> None:
    batcher, worker = Batcher(grace=1), FakeWorker()
    batcher.attach(worker, size=1, window=0)
    call = make_call("a")
    batcher.put(call)
    start(batcher, "a")
    batcher.abandon(call)
    assert worker.stopped == ["a"]
    batcher.on_frame(Chunk("a", b"x" * 5_000_000, []))
    batcher.on_frame(LogText(["a"], "x" * 5_000_000))
    assert not worker.is_paused
    assert not call.chunks
    finish(batcher, "a")
    assert batcher.is_idle


async def test_a_worker_with_too_much_unread_log_is_paused() -> None:
    batcher, worker = Batcher(grace=1), FakeWorker()
    batcher.attach(worker, size=1, window=0)
    call = make_call("a")
    batcher.put(call)
    start(batcher, "a")
    for _ in range(5):
        batcher.on_frame(LogText(["a"], "x" * 1_000_000))
    assert worker.is_paused
    assert len(call.take_log()) == 5_000_000
    assert call.unread_size == 0


def batcher_of(slots: int) -> tuple[Batcher, FakeWorker]:
    batcher, worker = Batcher(grace=1), FakeWorker()
    batcher.attach(worker, size=8, window=1, slots=slots)
    return batcher, worker


async def test_slots_are_filled_one_by_one() -> None:
    batcher, worker = batcher_of(3)
    assert batcher.credit == 3
    for id in "abcd":
        batcher.put(make_call(id))
    assert worker.batches == [["a"], ["b"], ["c"]]
    finish(batcher, "b")
    assert worker.batches[3:] == [["d"]]


async def test_one_call_more_than_slots_is_in_hand_while_runs_are_quick() -> None:
    batcher, _ = batcher_of(3)
    batcher.put(make_call("a"))
    start(batcher, "a")
    finish(batcher, "a", after=0.001)
    assert batcher.credit == 4


async def test_a_call_that_runs_alone_has_all_slots() -> None:
    batcher, worker = batcher_of(3)
    for id in "abcd":
        batcher.put(make_call(id, runs_alone=id in "bc"))
    assert worker.batches == [["a"]]
    finish(batcher, "a")
    assert worker.batches == [["a"], ["b"]]
    finish(batcher, "b")
    assert worker.batches == [["a"], ["b"], ["c"]]
    finish(batcher, "c")
    assert worker.batches[3:] == [["d"]]


async def test_a_dead_worker_with_slots_finishes_all_calls_that_had_started() -> None:
    batcher, _ = batcher_of(3)
    calls = [make_call(id) for id in "abc"]
    for call in calls:
        batcher.put(call)
    start(batcher, "a")
    start(batcher, "c")
    batcher.detach(WorkerDeath("died", by_agent=False))
    assert [call.id for call in calls if call.outcome is not None] == ["a", "c"]
    replacement = FakeWorker()
    batcher.attach(replacement, size=1, window=0, slots=3)
    assert replacement.batches == [["b"]]


async def test_a_stop_is_requested_again_and_again() -> None:
    batcher, worker = Batcher(grace=60), FakeWorker()
    batcher.attach(worker, size=1, window=0)
    call = make_call("a")
    batcher.put(call)
    batcher.stop(call, StopRequest(None))
    await eventually(lambda: len(worker.stopped) == 3)
    finish(batcher, "a")
    assert not worker.killed.is_set()


async def test_a_batcher_is_quiet_until_a_call_has_started() -> None:
    batcher, _ = batcher_of(2)
    batcher.put(make_call("a"))
    assert batcher.is_quiet
    assert not batcher.is_idle
    start(batcher, "a")
    assert not batcher.is_quiet
