import asyncio
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from asyncpg.pool import PoolConnectionProxy
from msgspec import Raw, json, structs

from gateway.bootstrap import run_workers
from gateway.store.connection import open_pool
from gateway.store.deliveries import INSERT_PROGRESS
from gateway.store.predictions import FINISH, NOTE_JOBS, START, PredictionStore
from gateway.store.write_batch import WriteBatcher
from schemas.events import Run
from schemas.prediction import Chunks, Prediction, Status

AT = datetime(2026, 1, 5, 9, tzinfo=UTC)
RUN = Run(1, 1_000, "a")


@dataclass
class Stores:
    one: PredictionStore
    other: PredictionStore


@pytest.fixture
async def records(database_url: str):
    """As two gateways have it."""
    async with open_pool(database_url, 4) as one, open_pool(database_url, 4) as other:
        await one.execute("INSERT INTO accounts (username, name) VALUES ('a', 'a')")
        yield Stores(PredictionStore(one), PredictionStore(other))


def predictions(count: int) -> list[Prediction]:
    return [
        Prediction(id=f"{i:026}", account=1, model="a/b", version="v", input=Raw(b"{}"), created_at=AT)
        for i in range(count)
    ]


async def test_statements_over_the_same_rows_never_deadlock(records: Stores):
    rows = predictions(200)
    await asyncio.gather(*(records.one.create(p, "default") for p in rows))
    draw = random.Random(1)
    for _ in range(15):
        shuffled = [draw.sample(rows, len(rows)) for _ in range(3)]
        jobs = [(p.id, 1, AT) for p in shuffled[2]]
        await asyncio.gather(
            records.one.start([(p.id, AT, RUN) for p in shuffled[0]]),
            records.other.start([(p.id, AT, RUN) for p in shuffled[1]]),
            records.other.note_jobs(jobs, timedelta(seconds=1)),
            records.one.make_due(AT),
        )
    ended = [structs.replace(p, status=Status.SUCCEEDED, completed_at=AT, run=RUN) for p in rows]
    written = await asyncio.gather(
        *(records.one.finish(p) for p in draw.sample(ended, len(ended))),
        *(records.other.finish(p) for p in draw.sample(ended, len(ended))),
        records.one.start([(p.id, AT, RUN) for p in draw.sample(rows, len(rows))]),
    )
    assert all(written[:-1])


async def test_one_bad_row_fails_nobody_else(records: Stores):
    good, bad = predictions(2)
    bad = structs.replace(bad, input=Raw(b'{"text":"\\u0000'))
    results = await asyncio.gather(*(records.one.create(p, "default") for p in (good, bad)), return_exceptions=True)
    assert isinstance(results[0], datetime)
    assert isinstance(results[1], asyncpg.DataError)
    assert await records.one.get(good.id) is not None


async def test_items_that_arrive_during_a_statement_go_into_the_next():
    sizes: list[int] = []
    begun, first = asyncio.Event(), asyncio.Event()

    async def write(items):
        sizes.append(len(items))
        begun.set()
        await first.wait()
        return items

    group = WriteBatcher(write)
    calls = [group.submit(number) for number in range(10)]
    await begun.wait()
    later = [group.submit(number) for number in range(10, 15)]
    await asyncio.sleep(0)
    first.set()
    assert await asyncio.gather(*calls, *later) == list(range(15))
    assert sum(sizes) == 15
    assert len(sizes) <= 3


async def test_a_failed_worker_is_reported_and_the_others_are_ended():
    failed = asyncio.Event()
    ended = asyncio.Event()

    async def fails() -> None:
        raise ZeroDivisionError

    async def goes_on() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with run_workers(fails(), goes_on(), on_failure=failed.set):
        await failed.wait()
        assert not ended.is_set()
    assert ended.is_set()


async def test_long_values_are_not_compressed_by_pglz(records: Stores, database_url: str) -> None:
    [p] = predictions(1)
    long = json.encode([number / 7 for number in range(1000)])
    await records.one.create(structs.replace(p, input=Raw(long)), "default")
    ended = structs.replace(p, status=Status.SUCCEEDED, completed_at=AT, run=RUN, text=Chunks.of(["steam\n" * 1000]))
    await records.one.finish(structs.replace(ended, chunks=Chunks.of([Raw(long)])))
    found = await records.other.get(p.id)
    assert found is not None
    assert (found.output, found.input, len(found.logs)) == (Raw(long), Raw(long), 6000)
    async with open_pool(database_url, 4) as pool:
        used = await pool.fetchrow("""SELECT pg_column_compression(input), pg_column_compression(output),
                                             pg_column_compression(logs) FROM predictions""")
    assert used is not None
    assert "pglz" not in tuple(used)


by_ids = pytest.mark.parametrize(
    ("statement", "types", "values"),
    [
        pytest.param(
            START, "text[], timestamptz[], json[]", "'{a,b}', '{2026-01-01,2026-01-01}', '{{},{}}'", id="start"
        ),
        pytest.param(FINISH, "text, text", "'a,b', '[]'", id="finish"),
        pytest.param(INSERT_PROGRESS, "text[], text[]", "'{a,b}', '{logs,logs}'", id="progress"),
        pytest.param(
            NOTE_JOBS, "text[], bigint[], timestamptz[], interval", "'{a,b}', '{1,2}', '{now,now}', '10 s'", id="note"
        ),
    ],
)


async def explain(connection: PoolConnectionProxy, statement: str, types: str, values: str) -> str:
    """As PostgreSQL plans it for whatever values, once it has run a few times."""
    await connection.execute("SET plan_cache_mode = force_generic_plan")
    await connection.execute(f"PREPARE ours ({types}) AS {statement}")
    return "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN EXECUTE ours ({values})"))


@by_ids
async def test_rows_are_found_by_id_and_not_by_the_index_of_due_rows(
    records: Stores, database_url: str, statement: str, types: str, values: str
) -> None:
    """The index of what is due has an entry for every prediction since the last vacuum."""
    await asyncio.gather(*(records.one.create(p, "default") for p in predictions(5000)))
    async with open_pool(database_url, 4) as pool, pool.acquire() as connection:
        await connection.execute("UPDATE predictions SET status = 'succeeded' WHERE id > $1", f"{30:026}")
        await connection.execute("ANALYZE predictions")
        plan = await explain(connection, statement, types, values)
    assert "predictions_pkey" in plan
    assert "predictions_due" not in plan


@by_ids
async def test_rows_are_found_by_id_also_by_plans_from_when_the_table_was_empty(
    records: Stores, database_url: str, statement: str, types: str, values: str
) -> None:
    """A plan is kept until the table is next analyzed, however it grows until then."""
    async with open_pool(database_url, 4) as pool, pool.acquire() as connection:
        plan = await explain(connection, statement, types, values)
    assert "predictions_pkey" in plan
    assert "Seq Scan on predictions" not in plan
    assert "predictions_due" not in plan


async def test_many_jobs_are_noted_without_a_nested_loop_over_all(records: Stores, database_url: str) -> None:
    """Right after many were created: PostgreSQL knows nothing yet of what is in the table."""
    made = predictions(2000)
    await asyncio.gather(*(records.one.create(p, "default") for p in made))
    async with open_pool(database_url, 4) as pool, pool.acquire() as connection:
        plan = await connection.fetch(
            f"EXPLAIN (ANALYZE) {NOTE_JOBS}", [p.id for p in made], [*range(2000)], [AT] * 2000, timedelta(seconds=10)
        )
        noted = await connection.fetchval("SELECT count(*) FROM predictions WHERE job IS NOT NULL")
    assert noted == 2000
    assert "Join Filter" not in "\n".join(row[0] for row in plan)
