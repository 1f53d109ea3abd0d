"""The cost of reading predictions from a database with a thousand of them, and from one with a million.

`python -m benchmarks.record` starts a PostgreSQL and a NATS, and fills two databases. It sends the same queries to
both in turns, through the store and through HTTP. It prints a table, and writes the raw numbers to
`benchmarks/results/`, and beside them PostgreSQL's plan of each query.
"""

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import asyncpg
import httpx
from msgspec import Struct, json
from rich.console import Console
from rich.table import Table

from benchmarks import machine
from benchmarks.machine import Machine
from deploy.local.nats import NatsUser, run_nats
from deploy.local.postgres import run_postgres
from deploy.migrate import migrate
from gateway import main as gateway
from gateway.settings import Settings
from gateway.store.connection import open_pool
from gateway.store.pages import Cursor, RowPage
from gateway.store.predictions import PredictionFilter, PredictionStore
from schemas.prediction import Prediction

RESULTS: Final = Path(__file__).parent / "results"
SIZES: Final = 1_000, 1_000_000
ACCOUNTS: Final = 20
PAGE_SIZE: Final = 100
SPAN: Final = timedelta(days=20)
TOKEN: Final = "of-the-benchmark"
AIM: Final = "≤ 10 ms, ≤ 1.5 ×"
OLDEST: Final = datetime(2026, 1, 1, tzinfo=UTC)
NEWEST: Final = datetime(2026, 3, 2, tzinfo=UTC)

# About 2 kB a row; the first account has six of ten, the website made one of four, the newest ten have not ended.
# Ids do not sort by time.
FILL_PREDICTIONS: Final = """
    INSERT INTO predictions (id, account, model, version, pool, source, status, input, output, many, logs, error,
                             metrics, run, created_at, started_at, completed_at, due_at)
    SELECT substr(md5(n::text) || md5((-n)::text), 1, 26),
           CASE WHEN n % 10 < 6 THEN 1 ELSE 2 + (n / 10) % ($2 - 1) END,
           'acme/model-' || n % 40, encode(sha256((n % 40)::text::bytea), 'hex'), 'default',
           CASE WHEN n % 4 = 1 THEN 'web' ELSE 'api' END,
           CASE WHEN open THEN 'starting' WHEN n % 17 = 0 THEN 'failed' ELSE 'succeeded' END,
           json_build_object('prompt', prose, 'seed', n, 'steps', 28),
           CASE WHEN NOT open AND n % 17 <> 0 THEN json_build_array(prose, prose) END,
           NOT open AND n % 17 <> 0, CASE WHEN open THEN '' ELSE repeat(md5(n::text) || E'\\n', 20) END,
           CASE WHEN NOT open AND n % 17 = 0 THEN 'out of memory' END,
           CASE WHEN NOT open THEN '{"predict_time":1.25}' END::json, '[1,1767603600125,"host-1"]',
           at, at + interval '1 s', CASE WHEN NOT open THEN at + interval '2 s' END, at
      FROM (SELECT n, n > $1 - 10 AS open, $3::timestamptz + ($4::timestamptz - $3) * (n::float8 / $1) AS at,
                   left(repeat(md5((n * 7)::text) || ' ', 12), 300 + n % 100) AS prose
              FROM generate_series(1, $1::int) AS n) AS drawn
"""


FILL_MODELS: Final = """
    WITH made AS (INSERT INTO models (owner, name) SELECT 'acme', 'model-' || n FROM generate_series(0, 39) AS n
                  RETURNING name)
    INSERT INTO versions (id, owner, name, pool, cog_version, openapi_schema)
    SELECT encode(sha256(replace(name, 'model-', '')::bytea), 'hex'), 'acme', name, 'default', '0.23.1',
           '{"components":{"schemas":{"Input":{"type":"object"},"Output":{"type":"array"}}}}' FROM made
"""


class Query(Struct, frozen=True, kw_only=True):
    """A query, as a call of the store and as a path of the API."""

    what: str
    store: Callable[[], Awaitable[object]]
    path: Callable[[], str]


class QueryResult(Struct, frozen=True, kw_only=True):
    """The times of one query on one database, as a line of the raw numbers."""

    at: str
    what: str
    through: str
    rows: int
    machine: Machine
    microseconds: list[int]

    @property
    def p50(self) -> float:
        """The median, in milliseconds."""
        return statistics.median(self.microseconds) / 1000


class FilledDatabase(Struct, frozen=True, kw_only=True):
    """A filled database, and a gateway that uses it."""

    rows: int
    url: str
    ids: list[str]
    queries: list[Query]
    client: httpx.AsyncClient


def main() -> None:
    """Parse the arguments, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=SIZES)
    parser.add_argument("--times", type=int, default=300, help="that each look is taken")
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.rows, arguments.times))


async def measure(sizes: Sequence[int], times: int) -> None:
    """Measure all queries on databases of these sizes, and write and print the results."""
    console = Console(width=None if sys.stdout.isatty() else 140)
    async with filled_databases(sizes, lambda line: console.print(f"  {line}", highlight=False)) as databases:
        here = machine.describe_machine()
        lines = [
            line
            for number in range(len(databases[0].queries))
            for line in await measure_query(databases, number, times, here)
        ]
        stem = RESULTS / f"record-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
        stem.with_suffix(".jsonl").write_bytes(b"".join(json.encode(line) + b"\n" for line in lines))
        stem.with_suffix(".txt").write_text("\n".join([await explain_queries(database) for database in databases]))
    console.print(result_table(lines))
    console.print(f"load average before: {here.busy}; raw numbers and plans: {stem}.jsonl, .txt", highlight=False)


async def measure_ratios(
    sizes: Sequence[int], repeats: int, times: int, report: Callable[[str], None]
) -> list[dict[tuple[str, str], float]]:
    """Return how many times longer each query takes on the largest database than on the smallest, for each repeat.

    The ratios are of medians, by query and way.
    """
    async with filled_databases(sizes, report) as databases:
        here = machine.describe_machine()
        ratios: list[dict[tuple[str, str], float]] = []
        for _ in range(repeats):
            each = [await measure_query(databases, number, times, here) for number in range(len(databases[0].queries))]
            ratios.append({key: ratio for lines in each for key, ratio in _ratios(lines).items()})
    return ratios


def _ratios(lines: Sequence[QueryResult]) -> dict[tuple[str, str], float]:
    medians = {(line.what, line.through, line.rows): line.p50 for line in lines}
    least, most = min(line.rows for line in lines), max(line.rows for line in lines)
    return {
        (what, way): medians[what, way, most] / medians[what, way, least] for what, way, rows in medians if rows == most
    }


@asynccontextmanager
async def filled_databases(sizes: Sequence[int], report: Callable[[str], None]) -> AsyncGenerator[list[FilledDatabase]]:
    """Yield a database of each size, with a gateway for each."""
    async with AsyncExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="samovar-record-")))
        home.chmod(0o711)  # noqa: ASYNC240
        postgres = await stack.enter_async_context(run_postgres(home / "postgres", {"shared_buffers": "512MB"}))
        everybody = NatsUser(name="all", publish=(">",), subscribe=(">",))
        nats = await stack.enter_async_context(run_nats(home / "nats", users=[everybody]))
        databases: list[FilledDatabase] = []
        for rows in sizes:
            started = time.perf_counter()
            url = await fill_database(postgres.admin_url, rows)
            report(f"{rows} rows in {time.perf_counter() - started:.0f} s")
            settings = Settings(
                database_url=url, nats_url=nats.urls["all"], port=0, token=TOKEN, files_url=f"file://{home}/files",
                retention_api=0, retention_web=0,
            )  # fmt: skip
            databases.append(await stack.enter_async_context(run_gateway(settings, rows)))
        yield databases


async def fill_database(admin_url: str, rows: int) -> str:
    """Create a database with so many predictions, and return its URL."""
    admin = await asyncpg.connect(admin_url)
    await admin.execute(f"CREATE DATABASE record_{rows}")
    await admin.close()
    url = admin_url.replace("/postgres?", f"/record_{rows}?")
    await migrate(url)
    database = await asyncpg.connect(url)
    for number in range(ACCOUNTS):
        await database.execute("INSERT INTO accounts (username, name) VALUES ($1, $1)", f"account-{number}")
    await database.execute("INSERT INTO tokens (hash, account) SELECT sha256($1::text::bytea), 1", TOKEN)
    await database.execute(FILL_MODELS)
    await database.execute(FILL_PREDICTIONS, rows, ACCOUNTS, OLDEST, NEWEST, timeout=1800)
    await database.execute("VACUUM ANALYZE predictions", timeout=1800)
    await database.execute("CHECKPOINT", timeout=600)
    await database.close()
    return url


@asynccontextmanager
async def run_gateway(settings: Settings, rows: int) -> AsyncGenerator[FilledDatabase]:
    """Run a gateway on a filled database."""
    server = gateway.create_server(settings)
    serving = asyncio.create_task(server._serve())  # pyright: ignore[reportPrivateUsage]
    while not server.started:  # noqa: ASYNC110  it has no event
        await asyncio.sleep(0.01)
    base = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    async with (
        open_pool(settings.database_url, 2) as pool,
        httpx.AsyncClient(base_url=base, headers={"Authorization": f"Bearer {TOKEN}"}, trust_env=False) as client,
    ):
        ids = [row["id"] for row in await pool.fetch("SELECT id FROM predictions WHERE account = 1 LIMIT 100000")]
        queries = await create_queries(PredictionStore(pool), ids)
        yield FilledDatabase(rows=rows, url=settings.database_url, ids=ids, queries=queries, client=client)
    server.should_exit = True
    await serving


async def create_queries(store: PredictionStore, ids: list[str]) -> list[Query]:
    """Return the queries of an account with these predictions."""
    draw = random.Random(1)

    def random_id() -> str:
        return draw.choice(ids)

    def random_time() -> datetime:
        return OLDEST + (NEWEST - OLDEST) * draw.uniform(0.3, 0.7)

    def page(filter: PredictionFilter, cursor: Cursor | None = None) -> Awaitable[RowPage[Prediction]]:
        return store.page(1, filter, cursor, PAGE_SIZE)

    ninth_cursor = await _ninth_cursor(page, PredictionFilter(), draw_rows=len(ids))
    web = PredictionFilter(source="web")
    api = "/v1/predictions"
    token = f"?cursor={ninth_cursor.token()}" if ninth_cursor else ""
    return [
        Query(what="first page", store=lambda: page(PredictionFilter()), path=lambda: api),
        Query(what="tenth page", store=lambda: page(PredictionFilter(), ninth_cursor), path=lambda: api + token),
        Query(what="one by its id", store=lambda: store.get(random_id(), 1), path=lambda: f"{api}/{random_id()}"),
        Query(what="source=web", store=lambda: page(web), path=lambda: f"{api}?source=web"),
        Query(
            what="created_before the middle",
            store=lambda: page(PredictionFilter(created_before=random_time())),
            path=lambda: f"{api}?created_before={_format_time(random_time())}",
        ),
        Query(
            what="twenty days in the middle",
            store=lambda: page(_before(random_time())),
            path=lambda: (
                f"{api}?created_before={_format_time(at := random_time())}&created_after={_format_time(at - SPAN)}"
            ),
        ),
    ]


async def _ninth_cursor(
    page: Callable[..., Awaitable[RowPage[Prediction]]], filter: PredictionFilter, draw_rows: int
) -> Cursor:
    """Return where the tenth page begins; of fewer pages, the last but one."""
    cursor: Cursor | None = None
    for _ in range(min(9, draw_rows // PAGE_SIZE - 1)):
        cursor = (await page(filter, cursor)).next
    assert cursor is not None
    return cursor


def _before(end: datetime) -> PredictionFilter:
    return PredictionFilter(created_before=end, created_after=end - SPAN)


def _format_time(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


async def measure_query(
    databases: Sequence[FilledDatabase], number: int, times: int, here: Machine
) -> list[QueryResult]:
    """Measure a query on all databases in turns, so that other load on the machine affects all of them."""
    durations: dict[tuple[str, int], list[int]] = {}
    for round_number in range(times + 10):
        for database in databases:
            query = database.queries[number]
            ways: dict[str, Callable[[], Awaitable[object]]] = {
                "store": query.store,
                "HTTP": lambda database=database, query=query: _get(database.client, query.path()),
            }
            for way, request in ways.items():
                started = time.perf_counter_ns()
                await request()
                if round_number >= 10:  # the first warm up
                    durations.setdefault((way, database.rows), []).append((time.perf_counter_ns() - started) // 1000)
    what, at = databases[0].queries[number].what, datetime.now(UTC).isoformat()
    return [
        QueryResult(at=at, what=what, through=way, rows=rows, machine=here, microseconds=times)
        for (way, rows), times in durations.items()
    ]


async def _get(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert answer.status_code == 200, answer.text


async def explain_queries(database: FilledDatabase) -> str:
    """Return the statements that the store sends, and PostgreSQL's plan of each."""
    sent: list[Any] = []

    async def listen(on: asyncpg.Connection) -> None:
        on.add_query_logger(sent.append)

    lines: list[str] = []
    async with asyncpg.create_pool(database.url, min_size=1, max_size=1, init=listen) as pool:
        for store_query in await create_queries(PredictionStore(pool), database.ids):
            sent.clear()
            await store_query.store()
            query, args = sent[0].query, sent[0].args
            rows = await pool.fetch(f"EXPLAIN (ANALYZE, BUFFERS) {query}", *args)
            lines += [f"== {store_query.what}, {database.rows} rows", query.strip(), "", *(row[0] for row in rows), ""]
    return "\n".join(lines)


def result_table(lines: Sequence[QueryResult]) -> Table:
    """Return the table of results."""
    sizes = sorted({line.rows for line in lines})
    table = Table("look", "through", *(f"p50 ms, {size:,} rows" for size in sizes), "ratio", "p99 ms, most rows", "aim")
    for what, way in dict.fromkeys((line.what, line.through) for line in lines):
        by_size = {line.rows: line for line in lines if (line.what, line.through) == (what, way)}
        medians = [by_size[size].p50 for size in sizes]
        worst = statistics.quantiles(by_size[sizes[-1]].microseconds, n=100)[98] / 1000
        ratio = medians[-1] / medians[0]
        aim = AIM if way == "store" else ""
        table.add_row(what, way, *(f"{each:.2f}" for each in medians), f"{ratio:.2f}", f"{worst:.2f}", aim)
    return table


if __name__ == "__main__":
    main()
