"""What a look at the record costs, with a thousand predictions in it and with a million.

`python -m benchmarks.record` starts a PostgreSQL and a NATS of its own, and fills two databases. The same looks are
taken in turns at both, through the store and through HTTP. Prints a table; keeps the raw numbers in
`benchmarks/results/`, and beside them how PostgreSQL went about each.
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
from deploy.local.nats import User, running_nats
from deploy.local.postgres import running_postgres
from deploy.migrate import migrate
from gateway import main as gateway
from gateway.settings import Settings
from gateway.store.connection import connected
from gateway.store.pages import Cursor, Listed
from gateway.store.predictions import Filter, Predictions
from schemas.prediction import Prediction

RESULTS: Final = Path(__file__).parent / "results"
SIZES: Final = 1_000, 1_000_000
ACCOUNTS: Final = 20
SIZE: Final = 100
SPAN: Final = timedelta(days=20)
TOKEN: Final = "of-the-benchmark"
AIM: Final = "≤ 10 ms, ≤ 1.5 ×"
OLDEST: Final = datetime(2026, 1, 1, tzinfo=UTC)
NEWEST: Final = datetime(2026, 3, 2, tzinfo=UTC)

# About 2 kB a row; the first account has six of ten, the website made one of four, the newest ten have not ended.
# Ids do not sort by time.
FILL: Final = """
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


MODELS: Final = """
    WITH made AS (INSERT INTO models (owner, name) SELECT 'acme', 'model-' || n FROM generate_series(0, 39) AS n
                  RETURNING name)
    INSERT INTO versions (id, owner, name, pool, cog_version, openapi_schema)
    SELECT encode(sha256(replace(name, 'model-', '')::bytea), 'hex'), 'acme', name, 'default', '0.23.1',
           '{"components":{"schemas":{"Input":{"type":"object"},"Output":{"type":"array"}}}}' FROM made
"""


class Look(Struct, frozen=True, kw_only=True):
    what: str
    store: Callable[[], Awaitable[object]]
    path: Callable[[], str]


class Line(Struct, frozen=True, kw_only=True):
    """One look at one record, as it is kept."""

    at: str
    what: str
    through: str
    rows: int
    machine: Machine
    microseconds: list[int]

    @property
    def p50(self) -> float:
        return statistics.median(self.microseconds) / 1000


class Place(Struct, frozen=True, kw_only=True):
    """A filled record, and a gateway that has it."""

    rows: int
    url: str
    ids: list[str]
    looks: list[Look]
    client: httpx.AsyncClient


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=SIZES)
    parser.add_argument("--times", type=int, default=300, help="that each look is taken")
    chosen = parser.parse_args()
    asyncio.run(run(chosen.rows, chosen.times))


async def run(sizes: Sequence[int], times: int) -> None:
    console = Console(width=None if sys.stdout.isatty() else 140)
    async with filled_places(sizes, lambda told: console.print(f"  {told}", highlight=False)) as places:
        here = machine.describe()
        lines = [line for number in range(len(places[0].looks)) for line in await measured(places, number, times, here)]
        stem = RESULTS / f"record-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
        stem.with_suffix(".jsonl").write_bytes(b"".join(json.encode(line) + b"\n" for line in lines))
        stem.with_suffix(".txt").write_text("\n".join([await plans(place) for place in places]))
    console.print(table(lines))
    console.print(f"load average before: {here.busy}; raw numbers and plans: {stem}.jsonl, .txt", highlight=False)


async def ratios(
    sizes: Sequence[int], repeats: int, times: int, say: Callable[[str], None]
) -> list[dict[tuple[str, str], float]]:
    """How many times as long each look takes at the largest as at the smallest, by way; of medians, per repeat."""
    async with filled_places(sizes, say) as places:
        here = machine.describe()
        found: list[dict[tuple[str, str], float]] = []
        for _ in range(repeats):
            each = [await measured(places, number, times, here) for number in range(len(places[0].looks))]
            found.append({key: ratio for lines in each for key, ratio in _ratios(lines).items()})
    return found


def _ratios(lines: Sequence[Line]) -> dict[tuple[str, str], float]:
    medians = {(line.what, line.through, line.rows): line.p50 for line in lines}
    least, most = min(line.rows for line in lines), max(line.rows for line in lines)
    return {
        (what, way): medians[what, way, most] / medians[what, way, least] for what, way, rows in medians if rows == most
    }


@asynccontextmanager
async def filled_places(sizes: Sequence[int], say: Callable[[str], None]) -> AsyncGenerator[list[Place]]:
    """A record of each size, and a gateway for each."""
    async with AsyncExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="samovar-record-")))
        home.chmod(0o711)  # noqa: ASYNC240
        postgres = await stack.enter_async_context(running_postgres(home / "postgres", {"shared_buffers": "512MB"}))
        everybody = User(name="all", publish=(">",), subscribe=(">",))
        nats = await stack.enter_async_context(running_nats(home / "nats", users=[everybody]))
        places: list[Place] = []
        for rows in sizes:
            started = time.perf_counter()
            url = await filled(postgres.admin_url, rows)
            say(f"{rows} rows in {time.perf_counter() - started:.0f} s")
            settings = Settings(
                database_url=url, nats_url=nats.urls["all"], port=0, token=TOKEN, files_url=f"file://{home}/files",
                retention_api=0, retention_web=0,
            )  # fmt: skip
            places.append(await stack.enter_async_context(opened(settings, rows)))
        yield places


async def filled(admin_url: str, rows: int) -> str:
    """The URL of a database with so many predictions."""
    admin = await asyncpg.connect(admin_url)
    await admin.execute(f"CREATE DATABASE record_{rows}")
    await admin.close()
    url = admin_url.replace("/postgres?", f"/record_{rows}?")
    await migrate(url)
    database = await asyncpg.connect(url)
    for number in range(ACCOUNTS):
        await database.execute("INSERT INTO accounts (username, name) VALUES ($1, $1)", f"account-{number}")
    await database.execute("INSERT INTO tokens (hash, account) SELECT sha256($1::text::bytea), 1", TOKEN)
    await database.execute(MODELS)
    await database.execute(FILL, rows, ACCOUNTS, OLDEST, NEWEST, timeout=1800)
    await database.execute("VACUUM ANALYZE predictions", timeout=1800)
    await database.execute("CHECKPOINT", timeout=600)
    await database.close()
    return url


@asynccontextmanager
async def opened(settings: Settings, rows: int) -> AsyncGenerator[Place]:
    server = gateway.server(settings)
    serving = asyncio.create_task(server._serve())  # pyright: ignore[reportPrivateUsage]
    while not server.started:  # noqa: ASYNC110  it has no event
        await asyncio.sleep(0.01)
    base = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    async with (
        connected(settings.database_url, 2) as pool,
        httpx.AsyncClient(base_url=base, headers={"Authorization": f"Bearer {TOKEN}"}, trust_env=False) as client,
    ):
        ids = [row["id"] for row in await pool.fetch("SELECT id FROM predictions WHERE account = 1 LIMIT 100000")]
        found = await looks(Predictions(pool), ids)
        yield Place(rows=rows, url=settings.database_url, ids=ids, looks=found, client=client)
    server.should_exit = True
    await serving


async def looks(record: Predictions, ids: list[str]) -> list[Look]:
    draw = random.Random(1)

    def one() -> str:
        return draw.choice(ids)

    def middle() -> datetime:
        return OLDEST + (NEWEST - OLDEST) * draw.uniform(0.3, 0.7)

    def page(filter: Filter, cursor: Cursor | None = None) -> Awaitable[Listed[Prediction]]:
        return record.page(1, filter, cursor, SIZE)

    tenth = await _ninth_cursor(page, Filter(), draw_rows=len(ids))
    web = Filter(source="web")
    api = "/v1/predictions"
    token = f"?cursor={tenth.token()}" if tenth else ""
    return [
        Look(what="first page", store=lambda: page(Filter()), path=lambda: api),
        Look(what="tenth page", store=lambda: page(Filter(), tenth), path=lambda: api + token),
        Look(what="one by its id", store=lambda: record.get(one(), 1), path=lambda: f"{api}/{one()}"),
        Look(what="source=web", store=lambda: page(web), path=lambda: f"{api}?source=web"),
        Look(
            what="created_before the middle",
            store=lambda: page(Filter(created_before=middle())),
            path=lambda: f"{api}?created_before={_text(middle())}",
        ),
        Look(
            what="twenty days in the middle",
            store=lambda: page(_before(middle())),
            path=lambda: f"{api}?created_before={_text(at := middle())}&created_after={_text(at - SPAN)}",
        ),
    ]


async def _ninth_cursor(page: Callable[..., Awaitable[Listed[Prediction]]], filter: Filter, draw_rows: int) -> Cursor:
    """Where the tenth page begins; of a record that has fewer, the last but one."""
    cursor: Cursor | None = None
    for _ in range(min(9, draw_rows // SIZE - 1)):
        cursor = (await page(filter, cursor)).next
    assert cursor is not None
    return cursor


def _before(end: datetime) -> Filter:
    return Filter(created_before=end, created_after=end - SPAN)


def _text(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


async def measured(places: Sequence[Place], number: int, times: int, here: Machine) -> list[Line]:
    """In turns, so that whatever else the machine does befalls all of them."""
    taken: dict[tuple[str, int], list[int]] = {}
    for turn in range(times + 10):
        for place in places:
            look = place.looks[number]
            ways: dict[str, Callable[[], Awaitable[object]]] = {
                "store": look.store,
                "HTTP": lambda place=place, look=look: _asked(place.client, look.path()),
            }
            for way, ask in ways.items():
                started = time.perf_counter_ns()
                await ask()
                if turn >= 10:  # the first warm up
                    taken.setdefault((way, place.rows), []).append((time.perf_counter_ns() - started) // 1000)
    what, at = places[0].looks[number].what, datetime.now(UTC).isoformat()
    return [
        Line(at=at, what=what, through=way, rows=rows, machine=here, microseconds=times)
        for (way, rows), times in taken.items()
    ]


async def _asked(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert answer.status_code == 200, answer.text


async def plans(place: Place) -> str:
    """The statements that the store sends, and how PostgreSQL carries them out."""
    sent: list[Any] = []

    async def listen(on: asyncpg.Connection) -> None:
        on.add_query_logger(sent.append)

    told: list[str] = []
    async with asyncpg.create_pool(place.url, min_size=1, max_size=1, init=listen) as pool:
        for look in await looks(Predictions(pool), place.ids):
            sent.clear()
            await look.store()
            query, args = sent[0].query, sent[0].args
            rows = await pool.fetch(f"EXPLAIN (ANALYZE, BUFFERS) {query}", *args)
            told += [f"== {look.what}, {place.rows} rows", query.strip(), "", *(row[0] for row in rows), ""]
    return "\n".join(told)


def table(lines: Sequence[Line]) -> Table:
    sizes = sorted({line.rows for line in lines})
    table = Table("look", "through", *(f"p50 ms, {size:,} rows" for size in sizes), "ratio", "p99 ms, most rows", "aim")
    for what, way in dict.fromkeys((line.what, line.through) for line in lines):
        found = {line.rows: line for line in lines if (line.what, line.through) == (what, way)}
        medians = [found[size].p50 for size in sizes]
        worst = statistics.quantiles(found[sizes[-1]].microseconds, n=100)[98] / 1000
        ratio = medians[-1] / medians[0]
        aim = AIM if way == "store" else ""
        table.add_row(what, way, *(f"{each:.2f}" for each in medians), f"{ratio:.2f}", f"{worst:.2f}", aim)
    return table


if __name__ == "__main__":
    main()
