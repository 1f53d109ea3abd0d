"""What is to be sent to webhooks, and what became of it."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import asyncpg
from msgspec import Struct, json

from gateway.store.connection import reached
from gateway.store.pages import Cursor, Listed, listed

Event = Literal["start", "output", "logs", "completed"]
State = Literal["pending", "delivered", "failed", "dropped"]
STATES: Final = ("pending", "delivered", "failed", "dropped")

UNFINISHED: Final = "status NOT IN ('succeeded', 'failed', 'canceled')"
"""Of predictions that are looked for by their ids. The ends are named, and not what comes before them, as that is the
condition of `predictions_due`: PostgreSQL then reads all of that index, too, in which there is an entry for each
prediction since the last vacuum."""

TELL = """
    INSERT INTO deliveries (id, account, prediction, event, url, base)
    SELECT 'msg_' || replace(gen_random_uuid()::text, '-', ''), p.account, p.id, e.event, p.webhook,
           coalesce(p.webhook_base, '')
"""
"""Of rows of predictions `p`, and events `e`. Whoever runs it has the predictions' rows locked: so the sequence of
deliveries is the order of what happened."""

PROGRESS = f"""
    WITH open AS MATERIALIZED (
        SELECT id, status, account, webhook, webhook_base FROM predictions
         WHERE id = ANY($1::text[]) AND {UNFINISHED} AND webhook IS NOT NULL
         ORDER BY id FOR SHARE),
    told AS (
        {TELL} FROM open p JOIN unnest($1::text[], $2::text[]) AS e (id, event) USING (id)
         WHERE p.status = 'processing' AND NOT EXISTS (
               SELECT FROM deliveries d
                WHERE d.prediction = p.id AND d.state = 'pending' AND d.attempts = 0 AND d.event IN ('output', 'logs')))
    SELECT id, status FROM open
"""

# Hosts in any order, so that none of them can keep another one waiting for ever, and of each what is due for longest.
# Only the first of what is pending for a prediction is taken; what a later one says anew is dropped instead.
TAKE = """
    WITH RECURSIVE hosts AS (
        (SELECT host FROM deliveries WHERE state = 'pending' ORDER BY host LIMIT 1)
        UNION ALL
        SELECT (SELECT d.host FROM deliveries d WHERE d.state = 'pending' AND d.host > h.host ORDER BY d.host LIMIT 1)
          FROM hosts h WHERE h.host IS NOT NULL),
    free AS MATERIALIZED (
        SELECT h.host, $2 - coalesce(b.busy, 0) AS room
          FROM hosts h LEFT JOIN unnest($3::text[], $4::int[]) AS b (host, busy) USING (host)
         WHERE h.host IS NOT NULL AND coalesce(b.busy, 0) < $2 ORDER BY random()),
    due AS MATERIALIZED (
        SELECT d.id,
               d.event IN ('output', 'logs') AND EXISTS (
                   SELECT FROM deliveries e
                    WHERE e.prediction = d.prediction AND e.state = 'pending' AND e.sequence > d.sequence) AS outdated
          FROM free CROSS JOIN LATERAL (
               SELECT id, event, prediction, sequence FROM deliveries d
                WHERE d.state = 'pending' AND d.host = free.host AND d.due_at <= now()
                  AND NOT EXISTS (
                      SELECT FROM deliveries e
                       WHERE e.prediction = d.prediction AND e.state = 'pending' AND e.sequence < d.sequence)
                ORDER BY d.due_at LIMIT free.room FOR UPDATE SKIP LOCKED) d
         LIMIT $1)
    UPDATE deliveries d
       SET due_at = now() + $5, attempts = attempts + 1,
           state = CASE WHEN due.outdated THEN 'dropped' ELSE 'pending' END,
           ended_at = CASE WHEN due.outdated THEN now() END
      FROM due WHERE d.id = due.id
    RETURNING d.id, d.account, d.prediction, d.event, d.url, d.host, d.base, d.attempts, d.since, d.state
"""

SETTLE = """
    WITH settled AS (
        UPDATE deliveries SET state = $3, due_at = coalesce($4, due_at),
                              ended_at = CASE WHEN $3 <> 'pending' THEN now() END
         WHERE id = $1 AND state = 'pending' AND (attempts = $2 OR $3 = 'delivered'))
    INSERT INTO delivery_attempts (delivery, number, seconds, status, error)
    SELECT id, $2, $5, $6, $7 FROM deliveries WHERE id = $1
    ON CONFLICT DO NOTHING
"""

ATTEMPTS = """(
    SELECT coalesce(json_agg(json_build_object('at', a.at, 'status', a.status, 'error', a.error, 'seconds', a.seconds)
                             ORDER BY a.number), '[]')::text
      FROM delivery_attempts a WHERE a.delivery = d.id) AS tried
"""
LIST = f"""
    SELECT d.id, d.prediction, d.event, d.url, d.state, d.created_at, d.due_at, d.ended_at, {ATTEMPTS}
      FROM deliveries d WHERE d.account = $1
"""


class Taken(Struct, frozen=True, kw_only=True):
    """A delivery in hand, until its time is up."""

    id: str
    account: int
    prediction: str
    event: Event
    url: str
    host: str
    base: str
    attempt: int
    since: datetime
    dropped: bool


class Attempt(Struct, frozen=True):
    at: datetime
    status: int | None
    error: str | None
    seconds: float


class Delivery(Struct, frozen=True, kw_only=True):
    id: str
    prediction: str
    event: Event
    url: str
    state: State
    created_at: datetime
    due_at: datetime
    ended_at: datetime | None
    attempts: list[Attempt]


class Deliveries:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def progress(self, stirred: Mapping[str, str]) -> dict[str, bool]:
        """Tell webhooks of predictions that there is more, unless they are to be told of it anyway.

        Of each that has not ended, whether the record knows that it has begun: else nothing is told yet.
        """
        with reached():
            rows = await self._pool.fetch(PROGRESS, list(stirred), list(stirred.values()))
        return {row["id"]: row["status"] == "processing" for row in rows}

    async def take(self, most: int, of_host: int, busy: Mapping[str, int], lease: timedelta) -> list[Taken]:
        """What is due, for this gateway alone until the lease ends; no host gets more than `of_host` at once."""
        with reached():
            rows = await self._pool.fetch(TAKE, most, of_host, list(busy), list(busy.values()), lease)
        return [
            Taken(
                id=row["id"],
                account=row["account"],
                prediction=row["prediction"],
                event=row["event"],
                url=row["url"],
                host=row["host"],
                base=row["base"],
                attempt=row["attempts"],
                since=row["since"],
                dropped=row["state"] == "dropped",
            )
            for row in rows
        ]

    async def settle(
        self, taken: Taken, state: State, due: datetime | None, *, seconds: float, status: int | None, error: str | None
    ) -> None:
        """Note an attempt. Somebody else may have it by now; what was delivered is that nevertheless."""
        with reached():
            await self._pool.execute(SETTLE, taken.id, taken.attempt, state, due, seconds, status, error)

    async def page(
        self, account: int, prediction: str | None, state: str | None, cursor: Cursor | None, size: int
    ) -> Listed[Delivery]:
        """Newest first."""
        wanted = [(column, value) for column, value in (("prediction", prediction), ("state", state)) if value]
        where = "".join(f" AND d.{column} = ${place}" for place, (column, _) in enumerate(wanted, 2))
        return await listed(
            self._pool,
            LIST + where,
            (account, *(value for _, value in wanted)),
            by=("created_at", "id"),
            cursor=cursor,
            size=size,
            read=as_delivery,
        )

    async def get(self, account: int, id: str) -> Delivery | None:
        with reached():
            row = await self._pool.fetchrow(f"{LIST} AND d.id = $2", account, id)
        return as_delivery(row) if row else None

    async def again(self, account: int, id: str) -> bool:
        """To be sent anew, as if it had just been due for the first time. False: there is none."""
        with reached():
            row = await self._pool.fetchrow(
                """UPDATE deliveries
                      SET state = 'pending', ended_at = NULL, since = now(),
                          due_at = CASE WHEN state = 'pending' THEN least(due_at, now()) ELSE now() END
                    WHERE account = $1 AND id = $2 RETURNING id""",
                account,
                id,
            )
        return row is not None

    async def forget(self, age: timedelta, most: int) -> None:
        """Deliveries that ended longer ago than that."""
        with reached():
            await self._pool.execute(
                """DELETE FROM deliveries WHERE id IN (
                       SELECT id FROM deliveries WHERE ended_at < now() - $1::interval
                        ORDER BY ended_at LIMIT $2 FOR UPDATE SKIP LOCKED)""",
                age,
                most,
            )


def as_delivery(row: Any) -> Delivery:
    return Delivery(
        **{name: row[name] for name in Delivery.__struct_fields__ if name != "attempts"},
        attempts=json.decode(row["tried"], type=list[Attempt]),
    )
