"""A life between its runs: what a broker that forgets and a worker that dies make of one job."""

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec import Raw

from runners.batching.batcher import Batcher
from runners.batching.call import Death, Wish
from runners.broker.event_publisher import QueueFull, Reporter
from runners.broker.job_queue import Delivery
from runners.errors import FileStoreError, StartOver
from runners.jobs.cancellation import Cancels
from runners.jobs.inputs import Inputs
from runners.jobs.job_run import Agent, Life
from runners.jobs.secrets import Secrets
from runners.worker.frames import Began, Chunk, Done
from schemas.events import Canceled, Crashed, Event, Failed, Output, Succeeded
from schemas.events import Final as FinalEvent
from schemas.jobs import Job
from tests.runners.conftest import eventually
from tests.runners.test_batcher import Bench, a_call, begin, done


class Paper:
    """Takes what is said."""

    generation = 0

    def __init__(self) -> None:
        self.said: list[Event] = []
        self.submitted: list[Job] = []
        self.asked = 0
        self.forgets = False
        self.full = False
        self.meanwhile = lambda: None

    async def say(self, event: Event) -> int:
        if self.forgets and isinstance(event, Output):
            raise StartOver
        self.said.append(event)
        return len(self.said)

    async def end(self, final: FinalEvent) -> bool:
        self.said.append(final)
        return True

    async def ended(self, id: str) -> bool:
        self.asked += 1
        return False

    async def submit(self, job: Job, subject: str) -> int:
        self.meanwhile()
        if self.full:
            raise QueueFull(10077, "full")
        self.submitted.append(job)
        return 1


class Hand:
    """A delivery that came a moment ago."""

    redelivered = False
    subject = "jobs.default.x.v.0"

    def __init__(self) -> None:
        self.pulled_at = time.time()
        self.settled = False

    async def settle(self) -> None:
        self.settled = True


class NoFiles:
    async def fetch(self, key: str) -> bytes:
        raise FileStoreError(key)

    async def fetch_to(self, key: str, path: Path, limit: int) -> str:
        raise FileStoreError(key)

    async def keep(self, id: str, value: bytes, paths: list[str]) -> tuple[Raw, list[str]]:
        raise FileStoreError(id)

    async def spill(self, id: str, value: bytes) -> str:
        raise FileStoreError(id)


class Scene:
    def __init__(self, **job: Any) -> None:
        self.paper, self.hand, self.bench = Paper(), Hand(), Bench()
        self.batcher = Batcher(grace=5)
        self.batcher.attach(self.bench, size=1, window=0)
        agent = Agent(
            name="tester",
            reporter=cast("Reporter", self.paper),
            cancels=Cancels(),
            files=NoFiles(),
            inputs=Inputs(NoFiles(), Secrets(None), limit=1, timeout=1),
            run_limit=60,
            max_output=1000,
        )
        made = Job(id="a", model="x", version="v", input=Raw(b"{}"), created_at=datetime.now(UTC), **job)
        self.life = Life(agent, self.batcher, cast("Delivery", self.hand), made)

    def chunk(self) -> None:
        self.batcher.heard(Chunk("a", b"1", []))


async def test_a_run_that_starts_over_waits_until_the_worker_has_left_the_first() -> None:
    scene = Scene()
    scene.paper.forgets = scene.paper.full = True
    living = asyncio.create_task(scene.life.live())
    await eventually(lambda: scene.bench.frames)
    begin(scene.batcher, "a")
    scene.chunk()
    await eventually(lambda: scene.bench.stopped == ["a"])
    scene.paper.forgets = False
    assert scene.bench.frames == [["a"]]
    scene.batcher.heard(Done("a", time.time(), "stopped", False, None, [], None, {}))
    await eventually(lambda: scene.bench.frames == [["a"], ["a"]])
    begin(scene.batcher, "a")
    done(scene.batcher, "a")
    await living
    (final,) = scene.paper.said
    assert isinstance(final, Succeeded)
    assert final.outputs == 0
    assert scene.hand.settled


def again() -> Done:
    return Done("a", time.time(), "again", False, None, [], None, {})


async def test_what_a_batch_that_failed_said_of_it_counts_for_nothing_and_it_runs_again_alone() -> None:
    scene = Scene()
    scene.batcher.attach(scene.bench, size=4, window=0)
    living = asyncio.create_task(scene.life.live())
    await eventually(lambda: scene.bench.frames)
    begin(scene.batcher, "a")
    scene.chunk()
    await eventually(lambda: [event for event in scene.paper.said if isinstance(event, Output)])
    scene.batcher.heard(again())
    await eventually(lambda: len(scene.bench.frames) == 2)
    for id in "bcde":
        scene.batcher.put(a_call(id))
    begin(scene.batcher, "a")
    scene.chunk()
    done(scene.batcher, "a")
    await living
    said, final = scene.paper.said[0], scene.paper.said[-1]
    assert isinstance(said, Output)
    assert isinstance(final, Succeeded)
    assert final.run is not None
    assert final.run > said.run
    assert final.outputs + len(final.values) == 2
    assert scene.bench.frames == [["a"], ["a"], ["b", "c", "d", "e"]]
    assert scene.paper.submitted == []


async def test_a_cancel_that_meets_a_batch_that_failed_is_heard() -> None:
    scene = Scene()
    living = asyncio.create_task(scene.life.live())
    await eventually(lambda: scene.bench.frames)
    begin(scene.batcher, "a")
    scene.life.stop(Wish("enough"))
    scene.batcher.heard(again())
    await living
    (final,) = scene.paper.said
    assert isinstance(final, Canceled)
    assert final.error == "enough"


async def test_a_cancel_between_two_attempts_is_heard() -> None:
    scene = Scene()
    scene.paper.meanwhile = lambda: scene.life.stop(Wish("enough"))
    living = asyncio.create_task(scene.life.live())
    await eventually(lambda: scene.bench.frames)
    begin(scene.batcher, "a")
    scene.batcher.detach(Death("exit code 13", ours=False))
    await living
    assert [type(event) for event in scene.paper.said] == [Crashed, Canceled]
    assert cast("Canceled", scene.paper.said[-1]).error == "enough"


async def test_a_final_says_how_long_each_part_took() -> None:
    """The model's own numbers stand beside ours, and never in their place."""
    scene = Scene()
    living = asyncio.create_task(scene.life.live())
    await eventually(lambda: scene.bench.frames)
    scene.batcher.heard(Began(["a", "b"], scene.hand.pulled_at + 0.5))
    said = {"tokens": 3, "queue_time": "long", "predict_time": 2.0, "batch_size": 1}
    scene.batcher.heard(Done("a", time.time(), "ok", False, b"1", [], None, said))
    await living
    (final,) = scene.paper.said
    assert isinstance(final, Succeeded)
    queue_time = final.metrics.pop("queue_time")
    assert 0 <= queue_time < 60
    assert final.metrics == {"tokens": 3, "wait_time": 0.5, "predict_time": 2.0, "batch_size": 1}


async def test_a_run_whose_worker_had_to_be_killed_is_measured_too() -> None:
    scene = Scene()
    living = asyncio.create_task(scene.life.live())
    await eventually(lambda: scene.bench.frames)
    scene.batcher.heard(Began(["a", "b", "c"], scene.hand.pulled_at))
    scene.life.stop(Wish("enough"))
    scene.batcher.detach(Death("killed", ours=True))
    await living
    (final,) = scene.paper.said
    assert isinstance(final, Canceled)
    assert set(final.metrics) == {"queue_time", "wait_time", "predict_time", "batch_size"}
    assert final.metrics["batch_size"] == 3


async def test_what_never_began_waited_in_line_only() -> None:
    scene = Scene(deadline=datetime.now(UTC))
    await scene.life.live()
    (final,) = scene.paper.said
    assert isinstance(final, Canceled)
    assert set(final.metrics) == {"queue_time"}


async def test_too_many_numbers_of_a_model_leave_ours() -> None:
    scene = Scene()
    living = asyncio.create_task(scene.life.live())
    await eventually(lambda: scene.bench.frames)
    begin(scene.batcher, "a")
    said = {"text": "x" * 10_000, "predict_time": 2.0, "batch_size": 1}
    scene.batcher.heard(Done("a", time.time(), "failed", False, None, [], "no", said))
    await living
    (final,) = scene.paper.said
    assert isinstance(final, Failed)
    assert set(final.metrics) == {"queue_time", "wait_time", "predict_time", "batch_size"}


@pytest.mark.parametrize(("attempt", "asked"), [(1, 0), (2, 1)])
async def test_only_a_first_attempt_cannot_have_ended_yet(attempt: int, asked: int) -> None:
    scene = Scene(attempt=attempt)
    living = asyncio.create_task(scene.life.live())
    await eventually(lambda: scene.bench.frames)
    begin(scene.batcher, "a")
    done(scene.batcher, "a")
    await living
    assert scene.paper.asked == asked
