"""Which jobs the reconciler notes in the record."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from gateway import reconciler
from gateway.reconciler import Reconciler

MADE = datetime(2026, 1, 1, tzinfo=UTC)


class Streams:
    jobs_made = MADE

    async def ensure(self) -> None: ...


class Notes:
    """A record in which nothing is due."""

    def __init__(self) -> None:
        self.noted: asyncio.Future[Sequence[tuple[str, int, datetime]]] = asyncio.get_running_loop().create_future()

    async def note_jobs(self, jobs: Sequence[tuple[str, int, datetime]], again: timedelta) -> None:
        self.noted.set_result(jobs)

    async def hurry(self, stream: datetime) -> None: ...

    async def due(self, most: int, again: timedelta) -> list[Any]:
        return []


async def test_jobs_are_noted_only_of_predictions_that_have_not_ended(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reconciler, "EVERY", 0.01)
    record = Notes()
    unused = cast("Any", None)
    tested = Reconciler(cast("Any", record), cast("Any", Streams()), unused, unused)
    for id in ("ended first", "lasting", "not published", "ended after"):
        tested.submitting(id)
    tested.ended("ended first")  # its final was heard before the broker's word that its job was taken
    for sequence, id in enumerate(("ended first", "lasting", "ended after"), 1):
        tested.submitted(id, sequence)
    tested.submitted("not published", None)
    tested.ended("ended after")
    serving = asyncio.create_task(tested.serve())
    try:
        assert await asyncio.wait_for(record.noted, 10) == [("lasting", 2, MADE)]
    finally:
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving
