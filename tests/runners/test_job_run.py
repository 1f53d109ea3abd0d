"""A job's run: its attempts, when the broker loses events and when workers die."""

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec import Raw

from runners.batching.batcher import Batcher
from runners.batching.call import StopRequest, WorkerDeath
from runners.broker.event_publisher import EventPublisher, QueueFull
from runners.broker.job_queue import Delivery
from runners.errors import EventsLost, FileStoreError
from runners.jobs.cancellation import Cancellations
from runners.jobs.inputs import InputOpener
from runners.jobs.job_run import JobContext, JobRun
from runners.jobs.secrets import SecretBox
from runners.worker.frames import Chunk, Done, ItemsStarted
from schemas.events import Canceled, Crashed, Event, Failed, Output, Succeeded
from schemas.events import Final as FinalEvent
from schemas.jobs import Job
from tests.runners.conftest import eventually
from tests.runners.test_batcher import FakeWorker, finish, make_call, start


class FakeEventPublisher:
    """Collects events and jobs."""

    generation = 0

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.jobs: list[Job] = []
        self.final_queries = 0
        self.loses_events = False
        self.is_full = False
        self.before_publish_job = lambda: None

    async def publish(self, event: Event) -> int:
        if self.loses_events and isinstance(event, Output):
            raise EventsLost
        self.events.append(event)
        return len(self.events)

    async def publish_final(self, final: FinalEvent) -> bool:
        self.events.append(final)
        return True

    async def has_final(self, id: str) -> bool:
        self.final_queries += 1
        return False

    async def publish_job(self, job: Job, subject: str) -> int:
        self.before_publish_job()
        if self.is_full:
            raise QueueFull(10077, "full")
        self.jobs.append(job)
        return 1


class FakeDelivery:
    """A delivery of this moment."""

    is_redelivered = False
    subject = "jobs.default.x.v.0"

    def __init__(self) -> None:
        self.pulled_at = time.time()
        self.is_acknowledged = False

    async def acknowledge(self) -> None:
        self.is_acknowledged = True


class BrokenFileStore:
    async def fetch(self, key: str) -> bytes:
        raise FileStoreError(key)

    async def download(self, key: str, path: Path, limit: int) -> str:
        raise FileStoreError(key)

    async def upload_files(self, id: str, value: bytes, paths: list[str]) -> tuple[Raw, list[str]]:
        raise FileStoreError(id)

    async def upload_value(self, id: str, value: bytes) -> str:
        raise FileStoreError(id)


class Scene:
    """A run of one job, with a batcher and a fake worker, broker and delivery."""

    def __init__(self, **job: Any) -> None:
        self.publisher, self.delivery, self.worker = FakeEventPublisher(), FakeDelivery(), FakeWorker()
        self.batcher = Batcher(grace=5)
        self.batcher.attach(self.worker, size=1, window=0)
        context = JobContext(
            agent="tester",
            events=cast("EventPublisher", self.publisher),
            cancellations=Cancellations(),
            files=BrokenFileStore(),
            inputs=InputOpener(BrokenFileStore(), SecretBox(None), limit=1, timeout=1),
            run_limit=60,
            max_output=1000,
        )
        self.job = Job(id="a", model="x", version="v", input=Raw(b"{}"), created_at=datetime.now(UTC), **job)
        self.run = JobRun(context, self.batcher, cast("Delivery", self.delivery), self.job)

    def send_chunk(self) -> None:
        self.batcher.on_frame(Chunk("a", b"1", []))


async def test_a_run_that_lost_its_events_waits_until_the_worker_has_stopped_before_it_starts_over() -> None:
    scene = Scene()
    scene.publisher.loses_events = scene.publisher.is_full = True
    task = asyncio.create_task(scene.run.run())
    await eventually(lambda: scene.worker.batches)
    start(scene.batcher, "a")
    scene.send_chunk()
    await eventually(lambda: scene.worker.stopped == ["a"])
    scene.publisher.loses_events = False
    assert scene.worker.batches == [["a"]]
    scene.batcher.on_frame(Done("a", time.time(), "stopped", False, None, [], None, {}))
    await eventually(lambda: scene.worker.batches == [["a"], ["a"]])
    start(scene.batcher, "a")
    finish(scene.batcher, "a")
    await task
    (final,) = scene.publisher.events
    assert isinstance(final, Succeeded)
    assert final.outputs == 0
    assert scene.delivery.is_acknowledged


def repeat_alone() -> Done:
    return Done("a", time.time(), "again", False, None, [], None, {})


async def test_output_of_a_failed_batch_counts_for_nothing_and_the_job_runs_again_alone() -> None:
    scene = Scene()
    scene.batcher.attach(scene.worker, size=4, window=0)
    task = asyncio.create_task(scene.run.run())
    await eventually(lambda: scene.worker.batches)
    start(scene.batcher, "a")
    scene.send_chunk()
    await eventually(lambda: [event for event in scene.publisher.events if isinstance(event, Output)])
    scene.batcher.on_frame(repeat_alone())
    await eventually(lambda: len(scene.worker.batches) == 2)
    for id in "bcde":
        scene.batcher.put(make_call(id))
    start(scene.batcher, "a")
    scene.send_chunk()
    finish(scene.batcher, "a")
    await task
    output, final = scene.publisher.events[0], scene.publisher.events[-1]
    assert isinstance(output, Output)
    assert isinstance(final, Succeeded)
    assert final.run is not None
    assert final.run > output.run
    assert final.outputs + len(final.values) == 2
    assert scene.worker.batches == [["a"], ["a"], ["b", "c", "d", "e"]]
    assert scene.publisher.jobs == []


async def test_a_cancel_is_kept_when_its_batch_fails() -> None:
    scene = Scene()
    task = asyncio.create_task(scene.run.run())
    await eventually(lambda: scene.worker.batches)
    start(scene.batcher, "a")
    scene.run.stop(StopRequest("enough"))
    scene.batcher.on_frame(repeat_alone())
    await task
    (final,) = scene.publisher.events
    assert isinstance(final, Canceled)
    assert final.error == "enough"


async def test_a_cancel_between_two_attempts_ends_the_job() -> None:
    scene = Scene()
    scene.publisher.before_publish_job = lambda: scene.run.stop(StopRequest("enough"))
    task = asyncio.create_task(scene.run.run())
    await eventually(lambda: scene.worker.batches)
    start(scene.batcher, "a")
    scene.batcher.detach(WorkerDeath("exit code 13", by_agent=False))
    await task
    assert [type(event) for event in scene.publisher.events] == [Crashed, Canceled]
    assert cast("Canceled", scene.publisher.events[-1]).error == "enough"


async def test_a_final_event_has_the_durations_of_its_phases() -> None:
    """The model's own numbers stand beside ours, and never in their place."""
    scene = Scene()
    task = asyncio.create_task(scene.run.run())
    await eventually(lambda: scene.worker.batches)
    scene.batcher.on_frame(ItemsStarted(["a", "b"], scene.delivery.pulled_at + 0.5))
    reported = {"tokens": 3, "queue_time": "long", "predict_time": 2.0, "batch_size": 1}
    scene.batcher.on_frame(Done("a", time.time(), "ok", False, b"1", [], None, reported))
    await task
    (final,) = scene.publisher.events
    assert isinstance(final, Succeeded)
    queue_time = final.metrics.pop("queue_time")
    assert 0 <= queue_time < 60
    assert final.metrics == {"tokens": 3, "wait_time": 0.5, "predict_time": 2.0, "batch_size": 1}


async def test_a_run_whose_worker_had_to_be_killed_is_measured_too() -> None:
    scene = Scene()
    task = asyncio.create_task(scene.run.run())
    await eventually(lambda: scene.worker.batches)
    scene.batcher.on_frame(ItemsStarted(["a", "b", "c"], scene.delivery.pulled_at))
    scene.run.stop(StopRequest("enough"))
    scene.batcher.detach(WorkerDeath("killed", by_agent=True))
    await task
    (final,) = scene.publisher.events
    assert isinstance(final, Canceled)
    assert set(final.metrics) == {"queue_time", "wait_time", "predict_time", "batch_size"}
    assert final.metrics["batch_size"] == 3


async def test_a_job_that_never_started_has_a_queue_time_only() -> None:
    scene = Scene(deadline=datetime.now(UTC))
    await scene.run.run()
    (final,) = scene.publisher.events
    assert isinstance(final, Canceled)
    assert set(final.metrics) == {"queue_time"}


async def test_metrics_of_a_model_that_are_too_large_are_dropped() -> None:
    scene = Scene()
    task = asyncio.create_task(scene.run.run())
    await eventually(lambda: scene.worker.batches)
    start(scene.batcher, "a")
    reported = {"text": "x" * 10_000, "predict_time": 2.0, "batch_size": 1}
    scene.batcher.on_frame(Done("a", time.time(), "failed", False, None, [], "no", reported))
    await task
    (final,) = scene.publisher.events
    assert isinstance(final, Failed)
    assert set(final.metrics) == {"queue_time", "wait_time", "predict_time", "batch_size"}


@pytest.mark.parametrize(("attempt", "queries"), [(1, 0), (2, 1)])
async def test_only_a_new_first_attempt_is_not_looked_up(attempt: int, queries: int) -> None:
    scene = Scene(attempt=attempt)
    task = asyncio.create_task(scene.run.run())
    await eventually(lambda: scene.worker.batches)
    start(scene.batcher, "a")
    finish(scene.batcher, "a")
    await task
    assert scene.publisher.final_queries == queries
