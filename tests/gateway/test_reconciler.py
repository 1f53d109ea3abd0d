"""The jobs that the reconciler notes in the record."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from msgspec import Raw

from gateway.bootstrap import run_workers
from gateway.events.in_flight import InFlight
from gateway.predictions import reconciler
from gateway.predictions.reconciler import Reconciler
from gateway.store.predictions import DuePrediction

CREATED_AT = datetime(2026, 1, 1, tzinfo=UTC)


class FakeBroker:
    """A broker that has the job 2, and no events."""

    jobs_created_at = CREATED_AT

    def __init__(self) -> None:
        self.woken: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.published: list[Any] = []

    async def ensure_streams(self) -> None: ...

    async def has_job(self, sequence: int) -> bool:
        return sequence == 2

    async def wake(self, pool: str, version: str) -> None:
        self.woken.set_result(version)

    async def read_events(self, id: str) -> list[Any]:
        return []

    async def publish_job(self, job: Any, pool: str) -> int:
        self.published.append(job)
        return 3


class FakeStore:
    """A record in which nothing is due."""

    def __init__(self) -> None:
        self.noted_jobs: asyncio.Future[Sequence[tuple[str, int, datetime]]] = (
            asyncio.get_running_loop().create_future()
        )

    async def note_jobs(self, jobs: Sequence[tuple[str, int, datetime]], check_after: timedelta) -> None:
        self.noted_jobs.set_result(jobs)

    async def make_due(self, stream: datetime) -> None: ...

    async def note_attempt(self, id: str, attempt: int, job: int | None, stream: datetime | None) -> bool:
        return True

    async def take_due(self, limit: int, check_after: timedelta) -> list[DuePrediction]:
        return []


async def test_jobs_are_noted_only_of_predictions_that_have_not_ended(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reconciler, "RECONCILE_SECONDS", 0.01)
    store = FakeStore()
    in_flight, reconciling = create_reconciler(store, FakeBroker())
    for id in ("ended first", "lasting", "not published", "ended after"):
        in_flight.begin_publishing(id)
    in_flight.note_final("ended first")  # it came before the broker's word that its job was taken
    for sequence, id in enumerate(("ended first", "lasting", "ended after"), 1):
        in_flight.end_publishing(id, sequence, CREATED_AT)
    in_flight.end_publishing("not published", None, CREATED_AT)
    in_flight.note_final("ended after")
    async with run_workers(reconciling.serve(), on_failure=pytest.fail):
        assert await asyncio.wait_for(store.noted_jobs, 10) == [("lasting", 2, CREATED_AT)]


async def test_a_job_that_could_not_be_noted_in_time_is_not_published_again(monkeypatch: pytest.MonkeyPatch):
    """As long as the gateway itself knows where it is: it was submitted while others were noted, and that took long."""
    monkeypatch.setattr(reconciler, "RECONCILE_SECONDS", 0.01)
    due = DuePrediction(
        id="lasting",
        pool="default",
        model="a/b",
        version="v",
        input=Raw(b"{}"),
        created_at=CREATED_AT,
        deadline=None,
        attempt=1,
        job=None,
        stream=None,
        cancel_requested_at=None,
    )
    store, broker = FakeStore(), FakeBroker()
    in_flight, reconciling = create_reconciler(store, broker)

    async def take_due(limit: int, check_after: timedelta) -> list[DuePrediction]:
        monkeypatch.undo()
        in_flight.begin_publishing("lasting")
        in_flight.end_publishing("lasting", 2, CREATED_AT)
        return [due]

    monkeypatch.setattr(store, "take_due", take_due)
    async with run_workers(reconciling.serve(), on_failure=pytest.fail):
        assert await asyncio.wait_for(broker.woken, 10) == "v"
    assert broker.published == []


def create_reconciler(store: FakeStore, broker: FakeBroker) -> tuple[InFlight, Reconciler]:
    in_flight, unused = InFlight("0000"), cast("Any", None)
    return in_flight, Reconciler(in_flight, cast("Any", store), cast("Any", broker), unused, unused)
