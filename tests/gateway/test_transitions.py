"""The statements that move predictions in the database, held to `advance` and to its table of transitions."""

from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from msgspec import Raw, structs

from gateway.store.connection import open_pool
from gateway.store.models import ModelStore
from gateway.store.predictions import PredictionStore
from gateway.store.statuses import IS_UNFINISHED, NOT_FINAL
from schemas.events import Canceled, Crashed, Event, Failed, Log, Output, Run, Started, Succeeded
from schemas.events import Final as FinalEvent
from schemas.models import Manifest, Weights
from schemas.prediction import FINAL, STATUS_AFTER, Prediction, Status, advance, reject_result

AT = datetime(2026, 1, 5, 9, tzinfo=UTC)
LATER = AT + timedelta(seconds=1)
OLDER_RUN, RUN, NEWER_RUN = Run(1, 1_000, "b"), Run(1, 2_000, "a"), Run(2, 1_000, "a")
NEW = Prediction(id="x", account=1, model="a/b", version="v", input=Raw(b"{}"), created_at=AT)

FINALS: dict[Status, FinalEvent] = {
    Status.SUCCEEDED: Succeeded(id="x", run=RUN, at=LATER, started_at=AT, values=[Raw(b'"hi"')], metrics={"n": 1}),
    Status.FAILED: Failed(id="x", run=RUN, at=LATER, started_at=AT, error="no"),
    Status.CANCELED: Canceled(id="x", run=None, at=LATER),
}
RECORDED: list[tuple[str, Event]] = [
    ("started", Started(id="x", run=RUN, at=LATER)),
    ("started by an older run", Started(id="x", run=OLDER_RUN, at=LATER)),
    ("started by a newer run", Started(id="x", run=NEWER_RUN, at=LATER)),
    ("succeeded", Succeeded(id="x", run=NEWER_RUN, at=LATER, started_at=LATER, values=[Raw(b'"ho"')])),
    ("succeeded in an older run", Succeeded(id="x", run=OLDER_RUN, at=LATER, started_at=AT, log="done")),
    ("failed", Failed(id="x", run=RUN, at=LATER, started_at=AT, error="bad")),
    ("failed before its start", Failed(id="x", run=None, at=LATER, error="no such version")),
    ("canceled", Canceled(id="x", run=RUN, at=LATER, started_at=AT)),
    ("canceled before its start", Canceled(id="x", run=None, at=LATER, error="deadline")),
]
"""The events that the recorder writes into what clients read. Output and logs reach the row with the final event."""
CRASHED = Crashed(id="x", run=RUN, at=LATER, reason="signal 9", attempt=2, job=7)
OTHERS: list[tuple[str, Event]] = [
    ("crashed", CRASHED),
    ("output", Output(id="x", run=RUN, index=0, values=[Raw(b'"hi"')])),
    ("log", Log(id="x", run=RUN, offset=0, text="hm")),
]


@pytest.fixture
async def pool(database_url: str) -> AsyncGenerator[asyncpg.Pool]:
    async with open_pool(database_url, 2) as pool:
        await pool.execute("INSERT INTO accounts (username, name) VALUES ('a', 'a')")
        yield pool


async def record(store: PredictionStore, event: Event) -> None:
    """Write an event as the recorder does."""
    match event:
        case Started(id=id, at=at, run=run):
            await store.start([(id, at, run)])
        case Crashed(id=id, attempt=attempt, job=job):
            await store.note_attempt(id, attempt, job, AT)
        case Succeeded() | Failed() | Canceled():
            await store.finish(advance(NEW, event))
        case Output() | Log():
            raise AssertionError("the recorder writes no such event")


async def create(store: PredictionStore, status: Status) -> Prediction:
    """A prediction that came to this status by the events of `RUN`."""
    await store.create(NEW, "default")
    if status is not Status.STARTING:
        await record(store, Started(id="x", run=RUN, at=AT))
    if status in FINALS:
        await record(store, FINALS[status])
    return await read(store)


async def read(store: PredictionStore) -> Prediction:
    p = await store.get("x")
    assert p is not None
    return p


def fields(p: Prediction) -> tuple[object, ...]:
    """All that events change, in a form that can be compared."""
    return p.status, p.run, p.started_at, p.completed_at, p.error, p.output, p.many, p.logs, p.files, p.metrics


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("event", [pytest.param(event, id=name) for name, event in RECORDED])
async def test_the_database_moves_a_prediction_as_advance_does(pool: asyncpg.Pool, status: Status, event: Event):
    store = PredictionStore(pool)
    before = await create(store, status)
    assert before.status is status
    await record(store, event)
    after = await read(store)
    assert fields(after) == fields(advance(before, event))
    await record(store, event)
    assert fields(await read(store)) == fields(after)


@pytest.mark.parametrize("status", list(Status))
async def test_a_crash_is_recorded_as_the_next_attempt_and_changes_nothing_else(pool: asyncpg.Pool, status: Status):
    store = PredictionStore(pool)
    before = await create(store, status)
    await record(store, CRASHED)
    after = await read(store)
    assert fields(after) == fields(before)
    assert after.status is advance(before, CRASHED).status
    assert after.attempt == (before.attempt if status in FINAL else CRASHED.attempt)


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("event", [pytest.param(event, id=name) for name, event in RECORDED + OTHERS])
def test_advance_follows_the_table_of_transitions(status: Status, event: Event):
    p = NEW if status is Status.STARTING else advance(NEW, Started(id="x", run=OLDER_RUN, at=AT))
    p = advance(p, FINALS[status]) if status in FINALS else p
    assert p.status is status
    assert advance(p, event).status is (status if status in FINAL else STATUS_AFTER.get(type(event), status))


def test_every_event_but_a_crash_has_its_row_in_the_table():
    assert {type(event) for _, event in RECORDED + OTHERS} - {Crashed} == STATUS_AFTER.keys()
    assert {STATUS_AFTER[type(event)] for event in FINALS.values()} == FINAL


async def test_the_newest_of_starts_that_are_written_together_counts(pool: asyncpg.Pool):
    store = PredictionStore(pool)
    await create(store, Status.STARTING)
    await store.start([("x", LATER, NEWER_RUN), ("x", AT, RUN)])
    after = await read(store)
    assert (after.run, after.started_at) == (NEWER_RUN, LATER)


async def test_a_training_without_a_version_is_failed_as_reject_result_says(pool: asyncpg.Pool):
    store, models = PredictionStore(pool), ModelStore(pool)
    await store.create_training(structs.replace(NEW, kind="train", destination="a/c"), "default")
    await record(store, FINALS[Status.SUCCEEDED])
    before = await read(store)
    weights = Weights(key="out/x/r/weights", sha256="0" * 64, size=1)
    manifest = Manifest(owner="a", name="c", base="v", weights=weights)
    async with models.lock(manifest.version) as connection:
        is_new, error = await models.create_trained_version("x", manifest, "", connection)
    assert not is_new
    assert error is not None
    assert fields(await read(store)) == fields(reject_result(before, error))
    assert await models.training_outcome("x") == (True, error)


async def test_the_conditions_on_unfinished_predictions_are_those_of_the_table(pool: asyncpg.Pool):
    unfinished = {str(status) for status in Status if status not in FINAL}
    for condition in IS_UNFINISHED, NOT_FINAL:
        rows = await pool.fetch(
            f"SELECT status FROM unnest($1::text[]) AS status WHERE {condition}", [*map(str, Status)]
        )
        assert {row["status"] for row in rows} == unfinished
