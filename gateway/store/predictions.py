"""Predictions in the record: made once, moved on by the recorder, read by everyone."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

import asyncpg
from asyncpg.pool import PoolConnectionProxy as Connection
from msgspec import Raw, Struct, convert, json

from gateway.store.changes import COLUMNS as CHANGE
from gateway.store.changes import Tell, as_change, nobody
from gateway.store.connection import LOST, reached
from gateway.store.deliveries import TELL, UNFINISHED
from gateway.store.pages import Cursor, Listed, listed
from gateway.store.write_batch import Group
from schemas.events import Run
from schemas.inputs import FILE, SEALED, WIPED
from schemas.prediction import Chunks, Prediction, Status
from schemas.subjects import INLINE

ON_ITS_WAY = timedelta(seconds=5)
"""How long nobody asks where a new prediction is: its own gateway notes its job after one second."""

LINGER = 0.01
"""Seconds that an end waits for others to be written with; clients were told of it already, and can read it."""

HEAVY: Final = 64_000_000
"""Characters of ends that one statement takes: PostgreSQL stops at a gigabyte."""

COLUMNS = """id, account, model, version, pool, kind, source, status, input, output, many, files, logs, error, metrics,
             run, created_at, started_at, completed_at, deadline, cancel_requested_at, attempt, deployment, destination,
             webhook, webhook_events, removed"""

# One JSON text rather than an array for each column: asyncpg takes 20 µs of a prediction for those.
INSERT = """
    INSERT INTO predictions (id, account, model, version, pool, source, input, created_at, deadline, due_at, secret,
                             deployment, webhook, webhook_events, request, webhook_base)
    SELECT id, account, model, version, pool, source, input, created_at, deadline, due_at, secret, deployment, webhook,
           webhook_events, decode(request, 'base64'), webhook_base
      FROM json_to_recordset($1::json)
           AS e (id text, account int, model text, version text, pool text, source text, input json,
                 created_at timestamptz, deadline timestamptz, due_at timestamptz, secret bool, deployment text,
                 webhook text, webhook_events text[], request text, webhook_base text)
"""

INSERT_BUILD = """
    INSERT INTO predictions (id, account, model, version, pool, input, created_at, due_at, kind)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'build')
    ON CONFLICT (version) WHERE kind = 'build' AND status IN ('starting', 'processing') DO NOTHING
    RETURNING id
"""

INSERT_TRAINING = """
    INSERT INTO predictions (id, account, model, version, pool, source, input, created_at, deadline, due_at, secret,
                             destination, webhook, webhook_events, webhook_base, kind)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, 'train')
"""

# Statements that change many rows lock them in the order of their ids first: two that did so in orders of their own
# would sooner or later each wait for the other (the kill loop saw it).
IN_ORDER = f"""
    WITH mine AS MATERIALIZED (
        SELECT id, status FROM predictions WHERE id = ANY($1::text[]) AND {UNFINISHED} ORDER BY id FOR NO KEY UPDATE)
"""
JOINED_IN_ORDER = IN_ORDER.replace("$1::text[]", "string_to_array($1, ',')")
"""For the ids in one text."""

# Each row is looked for by itself, as a subquery that locks is never merged with what is around it: a join would be
# planned for a number of rows that PostgreSQL can only guess. It guessed one where there were 7,000, and compared each
# with each for 6.8 s. For the same reason all conditions are in there, and none at the update.
NOTE = f"""
    WITH mine AS MATERIALIZED (
        SELECT e.* FROM (SELECT * FROM unnest($1::text[], $2::bigint[], $3::timestamptz[]) AS e (id, job, stream)
                          ORDER BY id) e
         CROSS JOIN LATERAL (
               SELECT FROM predictions WHERE id = e.id AND {UNFINISHED} AND attempt = 1 AND job IS NULL
                  FOR NO KEY UPDATE) p)
    UPDATE predictions p SET job = mine.job, stream = mine.stream, due_at = now() + $4 FROM mine WHERE p.id = mine.id
"""

# Webhooks are told in the statement that makes it true, so that none is lost, and none is told twice.
START = f"""{IN_ORDER}, begun AS (
    UPDATE predictions p SET status = 'processing', started_at = e.at, run = e.run, changed_at = clock_timestamp()
      FROM mine JOIN unnest($1::text[], $2::timestamptz[], $3::json[]) AS e (id, at, run) USING (id)
     WHERE p.id = mine.id
    RETURNING {CHANGE}, p.webhook, p.webhook_events, p.webhook_base, mine.status AS before),
    told AS (
    {TELL} FROM begun p CROSS JOIN (VALUES ('start')) AS e (event)
     WHERE p.webhook IS NOT NULL AND p.before = 'starting' AND e.event = ANY(p.webhook_events))
    SELECT {CHANGE}, p.webhook IS NOT NULL AS hooked FROM begun p
"""

# The quote that opens a text is never escaped, so a text that merely speaks of sealed ones stays as it is.
WIPE = rf"""regexp_replace(p.input::text, '(?<!\\)"{SEALED}[^"]*"', '"{WIPED}"', 'g')::json"""

# A run that was over before its start was recorded is told of both, in this order. Who wants output or logs alone gets
# what there was no time to tell.
FINISH = f"""{JOINED_IN_ORDER}, ended AS (
    UPDATE predictions p
       SET status = e.status, output = e.output -> 0, many = e.many, files = e.files, logs = e.logs,
           error = e.error, metrics = e.metrics, run = e.run, started_at = e.started_at, completed_at = e.completed_at,
           changed_at = clock_timestamp(),
           input = CASE WHEN p.secret THEN {WIPE} ELSE p.input END
      FROM mine
      JOIN json_to_recordset($2::json)
           AS e (id text, status text, output json, many bool, files text[], logs text, error text, metrics json,
                 run json, started_at timestamptz, completed_at timestamptz) USING (id)
     WHERE p.id = mine.id
    RETURNING {CHANGE}, p.webhook, coalesce(p.webhook_events, '{{output,completed}}') AS wanted,
              coalesce('completed' = ANY(p.webhook_events), true) AS covered, p.webhook_base,
              mine.status = 'starting' AND e.started_at IS NOT NULL AS ran, p.output IS NOT NULL AS said,
              p.logs <> '' AS logged),
    told AS (
        {TELL} FROM ended p
          CROSS JOIN (VALUES (1, 'start'), (2, 'output'), (3, 'logs'), (4, 'completed')) AS e (place, event)
         WHERE p.webhook IS NOT NULL AND e.event = ANY(p.wanted)
           AND CASE e.event
               WHEN 'start' THEN p.ran
               WHEN 'output' THEN p.said AND NOT p.covered
               WHEN 'logs' THEN p.logged AND NOT p.covered AND NOT (p.said AND 'output' = ANY(p.wanted))
               ELSE true END
         ORDER BY p.id, e.place)
    SELECT {CHANGE}, p.webhook IS NOT NULL AS hooked FROM ended p
"""

LIST = f"""
    SELECT {COLUMNS} FROM predictions
     WHERE kind = '{{kind}}' AND account = $1 AND created_at >= $2 AND created_at <= $3{{source}}
"""


class Filter(Struct, frozen=True, kw_only=True):
    created_after: datetime = datetime(1, 1, 1, tzinfo=UTC)
    created_before: datetime = datetime.max.replace(tzinfo=UTC)
    source: Literal["web", "api"] | None = None


class Due(Struct, frozen=True, kw_only=True):
    """A prediction that is not final, and should be looked for."""

    id: str
    pool: str
    model: str
    version: str
    input: Raw
    created_at: datetime
    deadline: datetime | None
    attempt: int
    job: int | None
    stream: datetime | None
    cancel_requested_at: datetime | None
    kind: Literal["predict", "build", "train"] = "predict"
    gone: bool = False
    """Its version was deleted."""


class Made(Struct, frozen=True, kw_only=True):
    """What `INSERT` reads of a prediction."""

    id: str
    account: int
    model: str
    version: str
    pool: str
    source: str
    input: Raw
    created_at: datetime
    deadline: datetime | None
    due_at: datetime
    secret: bool
    deployment: str | None
    webhook: str | None
    webhook_events: tuple[str, ...] | None
    request: bytes | None
    webhook_base: str | None


class Ended(Struct, frozen=True, kw_only=True):
    """What `FINISH` reads of a prediction."""

    id: str
    status: Status
    output: tuple[Raw] | None
    """In a list of its own, so that a text is kept as it was said."""
    many: bool
    files: tuple[str, ...]
    logs: str
    error: str | None
    metrics: dict[str, Any]
    run: Run | None
    started_at: datetime | None
    completed_at: datetime | None


class Predictions:
    """`tell` is called after a beginning or an end has been written: at least once for each.

    `on_hooked` is called when there may be something to send to webhooks.
    """

    def __init__(self, pool: asyncpg.Pool, tell: Tell = nobody, on_hooked: Callable[[], None] = lambda: None) -> None:
        self._pool = pool
        self._tell = tell
        self._on_hooked = on_hooked
        self._created = Group(self._insert)
        self._finished: Group[Prediction, str | None] = Group(self._finish, linger=LINGER)

    async def close(self) -> None:
        await asyncio.gather(self._created.close(), self._finished.close())

    async def reach(self) -> bool:
        try:
            return await self._pool.fetchval("SELECT true", timeout=2)
        except (asyncpg.PostgresError, *LOST):
            return False

    def create(self, p: Prediction, pool: str) -> asyncio.Future[datetime]:
        """Committed when it is done; the moment by the database's clock. Raises `Unavailable` or `BadToken`."""
        return self._created.put((p, pool))

    def finish(self, p: Prediction) -> asyncio.Future[str | None]:
        """Write a final state, unless there is one; what kind of job it was. None: no such row yet.

        Raises `Unavailable`.
        """
        return self._finished.put(p)

    async def start(self, started: Sequence[tuple[str, datetime, Run]]) -> None:
        with reached():
            rows = await self._pool.fetch(
                START,
                [id for id, _, _ in started],
                [at for _, at, _ in started],
                [json.encode(run).decode() for _, _, run in started],
            )
        await self._told(rows)

    async def remove(self, id: str) -> None:
        """For a prediction that was not accepted after all."""
        with reached():
            await self._pool.execute("DELETE FROM predictions WHERE id = $1", id)

    async def get(self, id: str, account: int | None = None) -> Prediction | None:
        """Any account's when none is given: for a bearer of its stream URL."""
        with reached():
            row = await self._pool.fetchrow(
                f"SELECT {COLUMNS} FROM predictions WHERE id = $1 AND ($2::int IS NULL OR account = $2)",
                id,
                account,
            )
        return as_prediction(row) if row else None

    async def create_build(self, p: Prediction, pool: str, on: Connection) -> bool:
        """The row of a push, in the transaction that `on` is in. False: its version is being built already."""
        return bool(
            await on.fetchrow(
                INSERT_BUILD,
                p.id,
                p.account,
                p.model,
                p.version,
                pool,
                bytes(p.input).decode(),
                p.created_at,
                p.created_at + ON_ITS_WAY,
            )
        )

    async def create_training(self, p: Prediction, pool: str) -> None:
        """Committed when it returns. Raises `Unavailable`."""
        with reached():
            await self._pool.execute(
                INSERT_TRAINING,
                p.id,
                p.account,
                p.model,
                p.version,
                pool,
                p.source,
                bytes(p.input).decode(),
                p.created_at,
                p.deadline,
                p.created_at + ON_ITS_WAY,
                p.secret,
                p.destination,
                p.webhook,
                p.webhook_events,
                p.webhook_base,
            )

    async def unmade(self, ids: Sequence[str]) -> set[str]:
        """Those of these pushes and trainings of which no version was made yet."""
        with reached():
            rows = await self._pool.fetch("SELECT id FROM predictions WHERE id = ANY($1) AND NOT built", list(ids))
        return {row["id"] for row in rows}

    async def build_under_way(self, version: str) -> Prediction | None:
        with reached():
            row = await self._pool.fetchrow(
                f"""SELECT {COLUMNS} FROM predictions
                     WHERE version = $1 AND kind = 'build' AND status IN ('starting', 'processing')""",
                version,
            )
        return as_prediction(row) if row else None

    async def wish_all_canceled(self, versions: Sequence[str], model: str | None, most: int) -> list[str]:
        """Note it for all predictions and trainings of these versions that have not ended.

        With a model also for all of its builds, and for trainings that would make a version of it.

        Up to `most` of them are told, all are due at once.
        """
        with reached():
            rows = await self._pool.fetch(
                """WITH mine AS MATERIALIZED (
                       SELECT id FROM predictions
                        WHERE status IN ('starting', 'processing')
                          AND CASE kind WHEN 'build' THEN model = $2 ELSE version = ANY($1) OR destination = $2 END
                        ORDER BY id FOR NO KEY UPDATE)
                   UPDATE predictions p SET cancel_requested_at = coalesce(cancel_requested_at, now()), due_at = now()
                     FROM mine WHERE p.id = mine.id RETURNING p.id""",
                list(versions),
                model,
            )
        return [row["id"] for row in rows[:most]]

    async def page(
        self, account: int, filter: Filter, cursor: Cursor | None, size: int, *, kind: str = "predict"
    ) -> Listed[Prediction]:
        """Newest first."""
        # Written out, as only so the index of what people run by hand can be used.
        source = f" AND source = '{filter.source}'" if filter.source else ""
        return await listed(
            self._pool,
            LIST.format(kind=kind, source=source),
            (account, filter.created_after, filter.created_before),
            by=("created_at", "id"),
            cursor=cursor,
            size=size,
            read=as_prediction,
        )

    async def wish_canceled(self, id: str, account: int | None = None) -> bool:
        """Note that somebody wants it canceled. False: it has ended, or is not theirs."""
        with reached():
            return (
                await self._pool.fetchval(
                    """UPDATE predictions SET cancel_requested_at = coalesce(cancel_requested_at, now()),
                          due_at = least(due_at, now() + interval '2 seconds')
                    WHERE id = $1 AND ($2::int IS NULL OR account = $2) AND status IN ('starting', 'processing')
                   RETURNING true""",
                    id,
                    account,
                )
                or False
            )

    async def overdue(self, most: int) -> list[str]:
        """Predictions whose deadline has passed; each is told to one gateway, once."""
        with reached():
            rows = await self._pool.fetch(
                """UPDATE predictions SET cancel_requested_at = now(), due_at = now() + interval '2 seconds'
                    WHERE id IN (
                       SELECT id FROM predictions
                        WHERE deadline <= now() AND status IN ('starting', 'processing') AND cancel_requested_at IS NULL
                        ORDER BY deadline LIMIT $1 FOR UPDATE SKIP LOCKED)
                   RETURNING id""",
                most,
            )
        return [row["id"] for row in rows]

    async def until_deadline(self) -> float | None:
        """Seconds until the next deadline, by the record's clock; None: there is none."""
        with reached():
            return await self._pool.fetchval(
                """SELECT extract(epoch FROM deadline - now())::float8 FROM predictions
                    WHERE deadline IS NOT NULL AND status IN ('starting', 'processing') AND cancel_requested_at IS NULL
                    ORDER BY deadline LIMIT 1"""
            )

    async def note_jobs(self, jobs: Sequence[tuple[str, int, datetime]], again: timedelta) -> None:
        """Where the jobs of predictions that are not final are: sequence, and when the stream was made."""
        with reached():
            await self._pool.execute(
                NOTE,
                [id for id, _, _ in jobs],
                [job for _, job, _ in jobs],
                [stream for _, _, stream in jobs],
                again,
            )

    async def note_attempt(self, id: str, attempt: int, job: int | None, stream: datetime | None) -> bool:
        """A job was published again. False: a newer attempt is noted already, or the prediction has ended."""
        with reached():
            return (
                await self._pool.fetchval(
                    """UPDATE predictions SET attempt = $2, job = $3, stream = $4
                    WHERE id = $1 AND attempt <= $2 AND status IN ('starting', 'processing') RETURNING true""",
                    id,
                    attempt,
                    job,
                    stream,
                )
                or False
            )

    async def hurry(self, stream: datetime) -> None:
        """Jobs that were noted in another stream than this one are due now."""
        with reached():
            await self._pool.execute(
                """UPDATE predictions SET due_at = now() WHERE id IN (
                       SELECT id FROM predictions
                        WHERE status IN ('starting', 'processing') AND stream <> $1 AND due_at > now()
                        ORDER BY id FOR NO KEY UPDATE)""",
                stream,
            )

    async def due(self, most: int, again: timedelta) -> list[Due]:
        """Predictions to look for; they are due again later, and no other gateway gets them meanwhile.

        Those that have waited for long are looked for less often, up to once a minute: a long queue costs little.
        """
        with reached():
            rows = await self._pool.fetch(
                """UPDATE predictions
                      SET due_at = now() + greatest($2, least((now() - created_at) / 4, interval '1 minute'))
                    WHERE id IN (
                       SELECT id FROM predictions
                        WHERE due_at <= now() AND status IN ('starting', 'processing')
                        ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED)
                   RETURNING id, pool, model, version, input, created_at, deadline, attempt, job, stream,
                             cancel_requested_at, kind,
                             kind <> 'build' AND NOT EXISTS (SELECT FROM versions v WHERE v.id = version) AS gone""",
                most,
                again,
            )
        return [convert({**row, "input": Raw(row["input"].encode())}, Due) for row in rows]

    async def inputs_with_files(self) -> list[str]:
        """Of predictions that have not ended: inputs that speak of files in the store."""
        with reached():
            rows = await self._pool.fetch(
                """SELECT input::text AS input FROM predictions
                    WHERE status IN ('starting', 'processing') AND strpos(input::text, $1) > 0""",
                FILE,
            )
        return [row["input"] for row in rows]

    async def large_inputs(self) -> list[str]:
        """The same: sha256 of the inputs that are too large for a message."""
        with reached():
            rows = await self._pool.fetch(
                """SELECT encode(sha256(convert_to(input::text, 'UTF8')), 'hex') AS digest FROM predictions
                    WHERE status IN ('starting', 'processing') AND octet_length(input::text) > $1""",
                INLINE,
            )
        return [row["digest"] for row in rows]

    async def output_files(self, ids: Sequence[str]) -> dict[str, frozenset[str] | None]:
        """The files that each of these predictions ended with; None for one that has not ended."""
        with reached():
            rows = await self._pool.fetch("SELECT id, status, files FROM predictions WHERE id = ANY($1)", list(ids))
        open = {Status.STARTING.value, Status.PROCESSING.value}
        return {row["id"]: None if row["status"] in open else frozenset(row["files"]) for row in rows}

    async def park(self, subject: str, data: bytes, reason: str) -> None:
        with reached():
            await self._pool.execute(
                "INSERT INTO parked_events (subject, data, reason) VALUES ($1, $2, $3)", subject, data, reason
            )

    async def _insert(self, rows: Sequence[tuple[Prediction, str]]) -> list[datetime]:
        made = await self._pool.fetch(f"{INSERT} RETURNING id, changed_at", inserted(rows))
        at: dict[str, datetime] = {row["id"]: row["changed_at"] for row in made}
        return [at[p.id] for p, _ in rows]

    async def _finish(self, ps: Sequence[Prediction]) -> list[str | None]:
        finals = _finals(ps)
        if len(finals) > HEAVY and len(ps) > 1:
            middle = len(ps) // 2
            return [*await self._finish(ps[:middle]), *await self._finish(ps[middle:])]
        rows = await self._pool.fetch(FINISH, ",".join(p.id for p in ps), finals)
        written = {row["id"] for row in rows}
        others = [p.id for p in ps if p.id not in written]
        if others:  # who wrote them may have died before it told anyone, so they are told again
            rows += await self._pool.fetch(f"SELECT {CHANGE} FROM predictions p WHERE id = ANY($1)", others)
        await self._told(rows)
        there: dict[str, str] = {row["id"]: row["kind"] for row in rows}
        return [there.get(p.id) for p in ps]

    async def _told(self, rows: Sequence[asyncpg.Record]) -> None:
        if any(row.get("hooked") for row in rows):
            self._on_hooked()
        await self._tell([as_change(row) for row in rows if row["kind"] == "predict"])


def inserted(rows: Sequence[tuple[Prediction, str]]) -> str:
    """The parameter of `INSERT`."""
    return json.encode([_made(p, pool) for p, pool in rows]).decode()


def _made(p: Prediction, pool: str) -> Made:
    return Made(
        id=p.id,
        account=p.account,
        model=p.model,
        version=p.version,
        pool=pool,
        source=p.source,
        input=p.input,
        created_at=p.created_at,
        deadline=p.deadline,
        due_at=p.created_at + ON_ITS_WAY,
        secret=p.secret,
        deployment=p.deployment,
        webhook=p.webhook,
        webhook_events=p.webhook_events,
        request=p.request,
        webhook_base=p.webhook_base,
    )


def _finals(ps: Sequence[Prediction]) -> str:
    """The parameter of `FINISH`."""
    return json.encode([_ended(p) for p in ps]).decode()


def _ended(p: Prediction) -> Ended:
    output = p.output
    return Ended(
        id=p.id,
        status=p.status,
        output=None if output is None else (output,),
        many=p.many,
        files=p.files,
        logs=p.logs,
        error=p.error,
        metrics=p.metrics,
        run=p.run,
        started_at=p.started_at,
        completed_at=p.completed_at,
    )


def as_prediction(row: asyncpg.Record) -> Prediction:
    return Prediction(
        id=row["id"],
        account=row["account"],
        model=row["model"],
        version=row["version"],
        input=Raw(row["input"].encode()),
        created_at=row["created_at"],
        kind=row["kind"],
        status=Status(row["status"]),
        source=row["source"],
        pool=row["pool"],
        deadline=row["deadline"],
        cancel_requested_at=row["cancel_requested_at"],
        attempt=row["attempt"],
        started_at=row["started_at"],
        completed_at=row["completed_at"],
        error=row["error"],
        metrics=json.decode(row["metrics"]) if row["metrics"] else {},
        run=json.decode(row["run"], type=Run) if row["run"] else None,
        many=row["many"],
        chunks=_chunks(row["output"], row["many"]),
        text=Chunks.of([row["logs"]] if row["logs"] else []),
        logged=len(row["logs"]),
        files=tuple(row["files"]),
        deployment=row["deployment"],
        destination=row["destination"],
        webhook=row["webhook"],
        webhook_events=None if row["webhook_events"] is None else tuple(row["webhook_events"]),
        data_removed=row["removed"],
    )


def _chunks(output: str | None, many: bool) -> Chunks:
    if output is None:
        return Chunks.of()
    return Chunks.of(json.decode(output, type=list[Raw]) if many else [Raw(output.encode())])
