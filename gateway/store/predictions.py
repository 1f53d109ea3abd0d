"""Predictions in the database: created once, moved on by the recorder, read by everyone."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

import asyncpg
from asyncpg.pool import PoolConnectionProxy as Connection
from msgspec import Raw, Struct, convert, json

from gateway.store.changes import CHANGE_COLUMNS, OnChanges, as_change, ignore_changes
from gateway.store.connection import CONNECTION_ERRORS, translate_errors
from gateway.store.deliveries import INSERT_DELIVERIES
from gateway.store.pages import Cursor, RowPage, fetch_page
from gateway.store.statuses import IS_UNFINISHED, NOT_FINAL
from gateway.store.write_batch import WriteBatcher
from schemas.events import Run
from schemas.inputs import FILE_PREFIX, REDACTED, SEALED_PREFIX
from schemas.prediction import FINAL, Chunks, Prediction, Status
from schemas.subjects import MAX_INLINE_BYTES

FIRST_CHECK_AFTER = timedelta(seconds=5)
"""How long no reconciler checks a new prediction: its own gateway records its job after one second."""

FINISH_LINGER_SECONDS = 0.01
"""Seconds that an end waits for others to be written with it. Clients have been told of it already, and can read it."""

MAX_STATEMENT_LENGTH: Final = 64_000_000
"""Characters of ends that one statement takes: PostgreSQL accepts at most a gigabyte."""

COLUMNS = """id, account, model, version, pool, kind, source, status, input, output, many, files, logs, error, metrics,
             run, created_at, started_at, completed_at, deadline, cancel_requested_at, attempt, deployment, destination,
             webhook, webhook_events, removed"""

# One JSON text rather than an array for each column: asyncpg takes 20 µs per prediction for arrays.
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

INSERT_BUILD = f"""
    INSERT INTO predictions (id, account, model, version, pool, input, created_at, due_at, kind)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'build')
    ON CONFLICT (version) WHERE kind = 'build' AND {IS_UNFINISHED} DO NOTHING
    RETURNING id
"""

INSERT_TRAINING = """
    INSERT INTO predictions (id, account, model, version, pool, source, input, created_at, deadline, due_at, secret,
                             destination, webhook, webhook_events, webhook_base, kind)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, 'train')
"""

# Statements that change many rows first lock them in the order of their ids: two that did so in different orders would
# sooner or later deadlock (seen in the kill loop).
LOCK_IN_ORDER = f"""
    WITH mine AS MATERIALIZED (
        SELECT id, status FROM predictions WHERE id = ANY($1::text[]) AND {NOT_FINAL} ORDER BY id FOR NO KEY UPDATE)
"""
LOCK_JOINED_IN_ORDER = LOCK_IN_ORDER.replace("$1::text[]", "string_to_array($1, ',')")
"""`LOCK_IN_ORDER` for ids that are joined in one text."""

# Each row is looked up by itself, as a subquery that locks is never merged with the query around it: a join would be
# planned for a number of rows that PostgreSQL can only guess. It guessed one where there were 7,000, and compared each
# with each for 6.8 s. For the same reason all conditions are in the subquery, and none at the update.
NOTE_JOBS = f"""
    WITH mine AS MATERIALIZED (
        SELECT e.* FROM (SELECT * FROM unnest($1::text[], $2::bigint[], $3::timestamptz[]) AS e (id, job, stream)
                          ORDER BY id) e
         CROSS JOIN LATERAL (
               SELECT FROM predictions WHERE id = e.id AND {NOT_FINAL} AND attempt = 1 AND job IS NULL
                  FOR NO KEY UPDATE) p)
    UPDATE predictions p SET job = mine.job, stream = mine.stream, due_at = now() + $4 FROM mine WHERE p.id = mine.id
"""

# Webhooks are queued in the statement that makes their event true, so that none is lost or queued twice. A start of a
# run older than the row's changes nothing, as in `advance`; agents compare as in Python, by code point.
START = f"""{LOCK_IN_ORDER}, started AS (
    UPDATE predictions p SET status = 'processing', started_at = e.at, run = e.run, changed_at = clock_timestamp()
      FROM mine JOIN unnest($1::text[], $2::timestamptz[], $3::json[]) AS e (id, at, run) USING (id)
     WHERE p.id = mine.id AND (p.run IS NULL OR
           ((p.run->>0)::int, (p.run->>1)::bigint, (p.run->>2) COLLATE "C")
           <= ((e.run->>0)::int, (e.run->>1)::bigint, (e.run->>2) COLLATE "C"))
    RETURNING {CHANGE_COLUMNS}, p.webhook, p.webhook_events, p.webhook_base, mine.status AS before),
    queued AS (
    {INSERT_DELIVERIES} FROM started p CROSS JOIN (VALUES ('start')) AS e (event)
     WHERE p.webhook IS NOT NULL AND p.before = 'starting' AND e.event = ANY(p.webhook_events))
    SELECT {CHANGE_COLUMNS}, p.webhook IS NOT NULL AS has_webhook FROM started p
"""

# The quote that opens a JSON text is never escaped, so a text that merely mentions sealed ones stays as it is.
WIPE_SECRETS = rf"""regexp_replace(p.input::text, '(?<!\\)"{SEALED_PREFIX}[^"]*"', '"{REDACTED}"', 'g')::json"""

# For a run that was over before its start was recorded, webhooks of both are queued, in this order. Subscribers to
# `output` or `logs` without `completed` get what there was no time to send.
FINISH = f"""{LOCK_JOINED_IN_ORDER}, finished AS (
    UPDATE predictions p
       SET status = e.status, output = e.output -> 0, many = e.many, files = e.files, logs = e.logs,
           error = e.error, metrics = e.metrics, run = e.run, started_at = e.started_at, completed_at = e.completed_at,
           changed_at = clock_timestamp(),
           input = CASE WHEN p.secret THEN {WIPE_SECRETS} ELSE p.input END
      FROM mine
      JOIN json_to_recordset($2::json)
           AS e (id text, status text, output json, many bool, files text[], logs text, error text, metrics json,
                 run json, started_at timestamptz, completed_at timestamptz) USING (id)
     WHERE p.id = mine.id
    RETURNING {CHANGE_COLUMNS}, p.webhook, coalesce(p.webhook_events, '{{output,completed}}') AS webhook_events,
              coalesce('completed' = ANY(p.webhook_events), true) AS wants_completed, p.webhook_base,
              mine.status = 'starting' AND e.started_at IS NOT NULL AS unrecorded_start,
              p.output IS NOT NULL AS has_output, p.logs <> '' AS has_logs),
    queued AS (
        {INSERT_DELIVERIES} FROM finished p
          CROSS JOIN (VALUES (1, 'start'), (2, 'output'), (3, 'logs'), (4, 'completed')) AS e (position, event)
         WHERE p.webhook IS NOT NULL AND e.event = ANY(p.webhook_events)
           AND CASE e.event
               WHEN 'start' THEN p.unrecorded_start
               WHEN 'output' THEN p.has_output AND NOT p.wants_completed
               WHEN 'logs' THEN p.has_logs AND NOT p.wants_completed
                                AND NOT (p.has_output AND 'output' = ANY(p.webhook_events))
               ELSE true END
         ORDER BY p.id, e.position)
    SELECT {CHANGE_COLUMNS}, p.webhook IS NOT NULL AS has_webhook FROM finished p
"""

LIST = f"""
    SELECT {COLUMNS} FROM predictions
     WHERE kind = '{{kind}}' AND account = $1 AND created_at >= $2 AND created_at <= $3{{source}}
"""


class PredictionFilter(Struct, frozen=True, kw_only=True):
    """The filters of a list of predictions."""

    created_after: datetime = datetime(1, 1, 1, tzinfo=UTC)
    created_before: datetime = datetime.max.replace(tzinfo=UTC)
    source: Literal["web", "api"] | None = None


class DuePrediction(Struct, frozen=True, kw_only=True):
    """A prediction that is not final, and whose job the reconciler should check."""

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
    version_deleted: bool = False
    """Whether its version was deleted."""


class InsertedRow(Struct, frozen=True, kw_only=True):
    """The fields of a prediction that `INSERT` reads."""

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


class FinishedRow(Struct, frozen=True, kw_only=True):
    """The fields of a prediction that `FINISH` reads."""

    id: str
    status: Status
    output: tuple[Raw] | None
    """A list of one, so that the JSON text is stored as it came."""
    many: bool
    files: tuple[str, ...]
    logs: str
    error: str | None
    metrics: dict[str, Any]
    run: Run | None
    started_at: datetime | None
    completed_at: datetime | None


class PredictionStore:
    """The rows of predictions, pushes and trainings: creation, changes of state, reads, and due times.

    Creations and ends are written in batches. `on_changes` is called after a start or an end has been written, at least
    once for each. `on_webhook_due` is called when there may be something to send to webhooks. Every service of the
    gateway that handles predictions uses it.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        on_changes: OnChanges = ignore_changes,
        on_webhook_due: Callable[[], None] = lambda: None,
    ) -> None:
        self._pool = pool
        self._on_changes = on_changes
        self._on_webhook_due = on_webhook_due
        self._inserts = WriteBatcher(self._insert)
        self._finishes: WriteBatcher[Prediction, str | None] = WriteBatcher(self._finish, linger=FINISH_LINGER_SECONDS)

    async def close(self) -> None:
        """Wait until everything that was submitted is written."""
        await asyncio.gather(self._inserts.close(), self._finishes.close())

    async def is_reachable(self) -> bool:
        """Return whether the database answers within two seconds."""
        try:
            return await self._pool.fetchval("SELECT true", timeout=2)
        except (asyncpg.PostgresError, *CONNECTION_ERRORS):
            return False

    def create(self, p: Prediction, pool: str) -> asyncio.Future[datetime]:
        """Insert a prediction; the future gives its creation time by the database's clock, once committed.

        The future raises `Unavailable` or `BadToken`.
        """
        return self._inserts.submit((p, pool))

    def finish(self, p: Prediction) -> asyncio.Future[str | None]:
        """Write a final state, unless there is one; the future gives the prediction's kind.

        The kind is None if there is no such row yet. The future raises `Unavailable`.
        """
        return self._finishes.submit(p)

    async def start(self, started: Sequence[tuple[str, datetime, Run]]) -> None:
        """Write that these runs have started, at these times. Raises `Unavailable`."""
        newest = {id: (at, run) for id, at, run in sorted(started, key=lambda each: each[2])}
        with translate_errors():
            rows = await self._pool.fetch(
                START,
                list(newest),
                [at for at, _ in newest.values()],
                [json.encode(run).decode() for _, run in newest.values()],
            )
        await self._notify(rows)

    async def delete(self, id: str) -> None:
        """Delete a prediction that was not accepted after all."""
        with translate_errors():
            await self._pool.execute("DELETE FROM predictions WHERE id = $1", id)

    async def get(self, id: str, account: int | None = None) -> Prediction | None:
        """Return a prediction of this account, or None.

        Without an account it is any account's: for a caller that holds the prediction's stream URL.
        """
        with translate_errors():
            row = await self._pool.fetchrow(
                f"SELECT {COLUMNS} FROM predictions WHERE id = $1 AND ($2::int IS NULL OR account = $2)",
                id,
                account,
            )
        return as_prediction(row) if row else None

    async def create_build(self, p: Prediction, pool: str, connection: Connection) -> bool:
        """Insert the row of a push in the transaction of `connection`.

        Returns False if its version is being built already.
        """
        return bool(
            await connection.fetchrow(
                INSERT_BUILD,
                p.id,
                p.account,
                p.model,
                p.version,
                pool,
                bytes(p.input).decode(),
                p.created_at,
                p.created_at + FIRST_CHECK_AFTER,
            )
        )

    async def create_training(self, p: Prediction, pool: str) -> None:
        """Insert the row of a training and commit it. Raises `Unavailable`."""
        with translate_errors():
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
                p.created_at + FIRST_CHECK_AFTER,
                p.secret,
                p.destination,
                p.webhook,
                p.webhook_events,
                p.webhook_base,
            )

    async def find_without_version(self, ids: Sequence[str]) -> set[str]:
        """Return those of these pushes and trainings whose version has not been made yet."""
        with translate_errors():
            rows = await self._pool.fetch("SELECT id FROM predictions WHERE id = ANY($1) AND NOT built", list(ids))
        return {row["id"] for row in rows}

    async def find_unfinished_build(self, version: str) -> Prediction | None:
        """Return the push of this version that has not ended, or None."""
        with translate_errors():
            row = await self._pool.fetchrow(
                f"""SELECT {COLUMNS} FROM predictions
                     WHERE version = $1 AND kind = 'build' AND {IS_UNFINISHED}""",
                version,
            )
        return as_prediction(row) if row else None

    async def request_cancel_all(self, versions: Sequence[str], model: str | None, limit: int) -> list[str]:
        """Request the cancellation of all unfinished predictions and trainings of these versions.

        With a model, also of all its builds, and of trainings that would make a version of it. Returns up to `limit` of
        their ids; all of them are due at once.
        """
        with translate_errors():
            rows = await self._pool.fetch(
                f"""WITH mine AS MATERIALIZED (
                       SELECT id FROM predictions
                        WHERE {IS_UNFINISHED}
                          AND CASE kind WHEN 'build' THEN model = $2 ELSE version = ANY($1) OR destination = $2 END
                        ORDER BY id FOR NO KEY UPDATE)
                   UPDATE predictions p SET cancel_requested_at = coalesce(cancel_requested_at, now()), due_at = now()
                     FROM mine WHERE p.id = mine.id RETURNING p.id""",
                list(versions),
                model,
            )
        return [row["id"] for row in rows[:limit]]

    async def page(
        self, account: int, filter: PredictionFilter, cursor: Cursor | None, size: int, *, kind: str = "predict"
    ) -> RowPage[Prediction]:
        """Return one page of an account's predictions of a kind, newest first."""
        # A literal rather than a parameter, so the index of predictions made on the website can be used.
        source = f" AND source = '{filter.source}'" if filter.source else ""
        return await fetch_page(
            self._pool,
            LIST.format(kind=kind, source=source),
            (account, filter.created_after, filter.created_before),
            by=("created_at", "id"),
            cursor=cursor,
            size=size,
            from_row=as_prediction,
        )

    async def request_cancel(self, id: str, account: int | None = None) -> bool:
        """Request the cancellation of a prediction; return False if it has ended or is not the account's."""
        with translate_errors():
            return (
                await self._pool.fetchval(
                    f"""UPDATE predictions SET cancel_requested_at = coalesce(cancel_requested_at, now()),
                          due_at = least(due_at, now() + interval '2 seconds')
                    WHERE id = $1 AND ($2::int IS NULL OR account = $2) AND {IS_UNFINISHED}
                   RETURNING true""",
                    id,
                    account,
                )
                or False
            )

    async def take_overdue(self, limit: int) -> list[str]:
        """Request the cancellation of predictions whose deadline has passed, and return their ids.

        Each is returned to one gateway, once.
        """
        with translate_errors():
            rows = await self._pool.fetch(
                f"""UPDATE predictions SET cancel_requested_at = now(), due_at = now() + interval '2 seconds'
                    WHERE id IN (
                       SELECT id FROM predictions
                        WHERE deadline <= now() AND {IS_UNFINISHED} AND cancel_requested_at IS NULL
                        ORDER BY deadline LIMIT $1 FOR UPDATE SKIP LOCKED)
                   RETURNING id""",
                limit,
            )
        return [row["id"] for row in rows]

    async def seconds_to_deadline(self) -> float | None:
        """Return the seconds until the next deadline, by the database's clock, or None if there is none."""
        with translate_errors():
            return await self._pool.fetchval(
                f"""SELECT extract(epoch FROM deadline - now())::float8 FROM predictions
                    WHERE deadline IS NOT NULL AND {IS_UNFINISHED} AND cancel_requested_at IS NULL
                    ORDER BY deadline LIMIT 1"""
            )

    async def note_jobs(self, jobs: Sequence[tuple[str, int, datetime]], check_after: timedelta) -> None:
        """Record where the jobs of unfinished predictions are: sequence, and when the stream was created."""
        with translate_errors():
            await self._pool.execute(
                NOTE_JOBS,
                [id for id, _, _ in jobs],
                [job for _, job, _ in jobs],
                [stream for _, _, stream in jobs],
                check_after,
            )

    async def note_attempt(self, id: str, attempt: int, job: int | None, stream: datetime | None) -> bool:
        """Record that a job was published again.

        Returns False if a newer attempt is recorded already, or the prediction has ended.
        """
        with translate_errors():
            return (
                await self._pool.fetchval(
                    f"""UPDATE predictions SET attempt = $2, job = $3, stream = $4
                    WHERE id = $1 AND attempt <= $2 AND {IS_UNFINISHED} RETURNING true""",
                    id,
                    attempt,
                    job,
                    stream,
                )
                or False
            )

    async def make_due(self, stream: datetime) -> None:
        """Make all predictions due now whose jobs were recorded in another stream than this one."""
        with translate_errors():
            await self._pool.execute(
                f"""UPDATE predictions SET due_at = now() WHERE id IN (
                       SELECT id FROM predictions
                        WHERE {IS_UNFINISHED} AND stream <> $1 AND due_at > now()
                        ORDER BY id FOR NO KEY UPDATE)""",
                stream,
            )

    async def take_due(self, limit: int, check_after: timedelta) -> list[DuePrediction]:
        """Return predictions to check, and make them due again later, so no other gateway gets them meanwhile.

        Those that have waited for long are checked less often, down to once a minute: a long queue costs little.
        """
        with translate_errors():
            rows = await self._pool.fetch(
                f"""UPDATE predictions
                      SET due_at = now() + greatest($2, least((now() - created_at) / 4, interval '1 minute'))
                    WHERE id IN (
                       SELECT id FROM predictions
                        WHERE due_at <= now() AND {IS_UNFINISHED}
                        ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED)
                   RETURNING id, pool, model, version, input, created_at, deadline, attempt, job, stream,
                             cancel_requested_at, kind,
                             kind <> 'build'
                             AND NOT EXISTS (SELECT FROM versions v WHERE v.id = version) AS version_deleted""",
                limit,
                check_after,
            )
        return [convert({**row, "input": Raw(row["input"].encode())}, DuePrediction) for row in rows]

    async def inputs_naming_files(self) -> list[str]:
        """Return the inputs of unfinished predictions that name files in the file store."""
        with translate_errors():
            rows = await self._pool.fetch(
                f"""SELECT input::text AS input FROM predictions
                    WHERE {IS_UNFINISHED} AND strpos(input::text, $1) > 0""",
                FILE_PREFIX,
            )
        return [row["input"] for row in rows]

    async def large_input_digests(self) -> list[str]:
        """Return the sha256 of unfinished predictions' inputs that are too large for a message."""
        with translate_errors():
            rows = await self._pool.fetch(
                f"""SELECT encode(sha256(convert_to(input::text, 'UTF8')), 'hex') AS digest FROM predictions
                    WHERE {IS_UNFINISHED} AND octet_length(input::text) > $1""",
                MAX_INLINE_BYTES,
            )
        return [row["digest"] for row in rows]

    async def output_files(self, ids: Sequence[str]) -> dict[str, frozenset[str] | None]:
        """Return the files that each of these predictions ended with; None for one that has not ended."""
        with translate_errors():
            rows = await self._pool.fetch("SELECT id, status, files FROM predictions WHERE id = ANY($1)", list(ids))
        return {row["id"]: frozenset(row["files"]) if row["status"] in FINAL else None for row in rows}

    async def set_aside_event(self, subject: str, data: bytes, reason: str) -> None:
        """Keep an event that cannot be recorded, with the reason, for whoever looks into it."""
        with translate_errors():
            await self._pool.execute(
                "INSERT INTO parked_events (subject, data, reason) VALUES ($1, $2, $3)", subject, data, reason
            )

    async def _insert(self, rows: Sequence[tuple[Prediction, str]]) -> list[datetime]:
        inserted = await self._pool.fetch(f"{INSERT} RETURNING id, changed_at", encode_inserts(rows))
        created_at: dict[str, datetime] = {row["id"]: row["changed_at"] for row in inserted}
        return [created_at[p.id] for p, _ in rows]

    async def _finish(self, ps: Sequence[Prediction]) -> list[str | None]:
        finals = _encode_finishes(ps)
        if len(finals) > MAX_STATEMENT_LENGTH and len(ps) > 1:
            middle = len(ps) // 2
            return [*await self._finish(ps[:middle]), *await self._finish(ps[middle:])]
        rows = await self._pool.fetch(FINISH, ",".join(p.id for p in ps), finals)
        written = {row["id"] for row in rows}
        others = [p.id for p in ps if p.id not in written]
        if others:  # the gateway that wrote them may have died before it announced them, so they are announced again
            rows += await self._pool.fetch(f"SELECT {CHANGE_COLUMNS} FROM predictions p WHERE id = ANY($1)", others)
        await self._notify(rows)
        kinds: dict[str, str] = {row["id"]: row["kind"] for row in rows}
        return [kinds.get(p.id) for p in ps]

    async def _notify(self, rows: Sequence[asyncpg.Record]) -> None:
        if any(row.get("has_webhook") for row in rows):
            self._on_webhook_due()
        await self._on_changes([as_change(row) for row in rows if row["kind"] == "predict"])


def encode_inserts(rows: Sequence[tuple[Prediction, str]]) -> str:
    """Return the parameter of `INSERT`."""
    return json.encode([_inserted_row(p, pool) for p, pool in rows]).decode()


def _inserted_row(p: Prediction, pool: str) -> InsertedRow:
    return InsertedRow(
        id=p.id,
        account=p.account,
        model=p.model,
        version=p.version,
        pool=pool,
        source=p.source,
        input=p.input,
        created_at=p.created_at,
        deadline=p.deadline,
        due_at=p.created_at + FIRST_CHECK_AFTER,
        secret=p.secret,
        deployment=p.deployment,
        webhook=p.webhook,
        webhook_events=p.webhook_events,
        request=p.request,
        webhook_base=p.webhook_base,
    )


def _encode_finishes(ps: Sequence[Prediction]) -> str:
    """Return the parameter of `FINISH`."""
    return json.encode([_finished_row(p) for p in ps]).decode()


def _finished_row(p: Prediction) -> FinishedRow:
    output = p.output
    return FinishedRow(
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
    """Build a prediction from its row, which has `COLUMNS`."""
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
        chunks=_decode_chunks(row["output"], row["many"]),
        text=Chunks.of([row["logs"]] if row["logs"] else []),
        logged=len(row["logs"]),
        files=tuple(row["files"]),
        deployment=row["deployment"],
        destination=row["destination"],
        webhook=row["webhook"],
        webhook_events=None if row["webhook_events"] is None else tuple(row["webhook_events"]),
        data_removed=row["removed"],
    )


def _decode_chunks(output: str | None, many: bool) -> Chunks:
    if output is None:
        return Chunks.of()
    return Chunks.of(json.decode(output, type=list[Raw]) if many else [Raw(output.encode())])
