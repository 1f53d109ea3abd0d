"""Which jobs the reconciler notes in the record."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from msgspec import Raw

from gateway.bootstrap import running
from gateway.predictions import reconciler
from gateway.predictions.reconciler import Reconciler
from gateway.store.predictions import Due

MADE = datetime(2026, 1, 1, tzinfo=UTC)


class Streams:
    """A broker that still has all jobs, and where nothing was said of any."""

    jobs_made = MADE

    def __init__(self) -> None:
        self.woken: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.published: list[Any] = []

    async def ensure(self) -> None: ...

    async def holds_job(self, sequence: int) -> bool:
        return sequence == 2

    async def wake(self, pool: str, version: str) -> None:
        self.woken.set_result(version)

    async def history(self, id: str) -> list[Any]:
        return []

    async def submit(self, job: Any, pool: str) -> int:
        self.published.append(job)
        return 3


class Notes:
    """A record in which nothing is due."""

    def __init__(self) -> None:
        self.noted: asyncio.Future[Sequence[tuple[str, int, datetime]]] = asyncio.get_running_loop().create_future()

    async def note_jobs(self, jobs: Sequence[tuple[str, int, datetime]], again: timedelta) -> None:
        self.noted.set_result(jobs)

    async def hurry(self, stream: datetime) -> None: ...

    async def note_attempt(self, id: str, attempt: int, job: int | None, stream: datetime | None) -> bool:
        return True

    async def due(self, most: int, again: timedelta) -> list[Due]:
        return []


async def test_jobs_are_noted_only_of_predictions_that_have_not_ended(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reconciler, "EVERY", 0.01)
    record = Notes()
    tested = made(record, Streams())
    for id in ("ended first", "lasting", "not published", "ended after"):
        tested.submitting(id)
    tested.ended("ended first")  # its final was heard before the broker's word that its job was taken
    for sequence, id in enumerate(("ended first", "lasting", "ended after"), 1):
        tested.submitted(id, sequence)
    tested.submitted("not published", None)
    tested.ended("ended after")
    async with running(tested.serve(), on_failure=pytest.fail):
        assert await asyncio.wait_for(record.noted, 10) == [("lasting", 2, MADE)]


async def test_a_job_that_could_not_be_noted_in_time_is_not_published_again(monkeypatch: pytest.MonkeyPatch):
    """As long as the gateway itself knows where it is: it was submitted while others were noted, and that took long."""
    monkeypatch.setattr(reconciler, "EVERY", 0.01)
    due = Due(
        id="lasting",
        pool="default",
        model="a/b",
        version="v",
        input=Raw(b"{}"),
        created_at=MADE,
        deadline=None,
        attempt=1,
        job=None,
        stream=None,
        cancel_requested_at=None,
    )
    record, streams = Notes(), Streams()
    tested = made(record, streams)

    async def found(most: int, again: timedelta) -> list[Due]:
        monkeypatch.undo()
        tested.submitting("lasting")
        tested.submitted("lasting", 2)
        return [due]

    monkeypatch.setattr(record, "due", found)
    async with running(tested.serve(), on_failure=pytest.fail):
        assert await asyncio.wait_for(streams.woken, 10) == "v"
    assert streams.published == []


def made(record: Notes, streams: Streams) -> Reconciler:
    unused = cast("Any", None)
    return Reconciler(cast("Any", record), cast("Any", streams), unused, unused)
