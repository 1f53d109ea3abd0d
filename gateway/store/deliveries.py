"""Webhook deliveries in the database: what is to be sent, and what became of it."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import asyncpg
from msgspec import Struct, json

from gateway.store.connection import translate_errors
from gateway.store.pages import Cursor, RowPage, fetch_page
from gateway.store.statuses import NOT_FINAL

WebhookEvent = Literal["start", "output", "logs", "completed"]
DeliveryState = Literal["pending", "delivered", "failed", "dropped"]
DELIVERY_STATES: Final = ("pending", "delivered", "failed", "dropped")

INSERT_DELIVERIES = """
    INSERT INTO deliveries (id, account, prediction, event, url, base)
    SELECT 'msg_' || replace(gen_random_uuid()::text, '-', ''), p.account, p.id, e.event, p.webhook,
           coalesce(p.webhook_base, '')
"""
"""Inserts a delivery for each row of predictions `p` and events `e`.

Whoever runs it has the predictions' rows locked, so the sequence of deliveries is the order of events."""

INSERT_PROGRESS = f"""
    WITH open AS MATERIALIZED (
        SELECT id, status, account, webhook, webhook_base FROM predictions
         WHERE id = ANY($1::text[]) AND {NOT_FINAL} AND webhook IS NOT NULL
         ORDER BY id FOR SHARE),
    queued AS (
        {INSERT_DELIVERIES} FROM open p JOIN unnest($1::text[], $2::text[]) AS e (id, event) USING (id)
         WHERE p.status = 'processing' AND NOT EXISTS (
               SELECT FROM deliveries d
                WHERE d.prediction = p.id AND d.state = 'pending' AND d.attempts = 0 AND d.event IN ('output', 'logs')))
    SELECT id, status FROM open
"""

# Hosts come in random order, so that none can keep another one waiting for ever, and of each what is due for longest.
# Only the first pending delivery of a prediction is leased, and it is dropped if a later one brings the same progress.
LEASE_DUE = """
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

INSERT_ATTEMPT = """
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
      FROM delivery_attempts a WHERE a.delivery = d.id) AS attempts
"""
LIST = f"""
    SELECT d.id, d.prediction, d.event, d.url, d.state, d.created_at, d.due_at, d.ended_at, {ATTEMPTS}
      FROM deliveries d WHERE d.account = $1
"""


class LeasedDelivery(Struct, frozen=True, kw_only=True):
    """A delivery that this gateway alone may send, until its lease ends."""

    id: str
    account: int
    prediction: str
    event: WebhookEvent
    url: str
    host: str
    base: str
    attempt: int
    since: datetime
    dropped: bool


class DeliveryAttempt(Struct, frozen=True):
    """An attempt to send a webhook: either the receiver's status or an error, and how long it took."""

    at: datetime
    status: int | None
    error: str | None
    seconds: float


class Delivery(Struct, frozen=True, kw_only=True):
    """A webhook delivery as its account sees it, with all attempts."""

    id: str
    prediction: str
    event: WebhookEvent
    url: str
    state: DeliveryState
    created_at: datetime
    due_at: datetime
    ended_at: datetime | None
    attempts: list[DeliveryAttempt]


class DeliveryStore:
    """The outbox of webhooks: deliveries that are due, leased, ended, and their attempts."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def queue_progress(self, events: Mapping[str, str]) -> dict[str, bool]:
        """Queue a webhook for each prediction with new output or logs, unless one is pending anyway.

        `events` says which of the two, by prediction. Returns, for each prediction that has not ended, whether its row
        says that it is processing; if not, nothing was queued for it yet.
        """
        with translate_errors():
            rows = await self._pool.fetch(INSERT_PROGRESS, list(events), list(events.values()))
        return {row["id"]: row["status"] == "processing" for row in rows}

    async def lease_due(
        self, limit: int, per_host: int, busy: Mapping[str, int], lease: timedelta
    ) -> list[LeasedDelivery]:
        """Lease deliveries that are due to this gateway, at most `per_host` at once for any host.

        `busy` is how many are being sent to each host already.
        """
        with translate_errors():
            rows = await self._pool.fetch(LEASE_DUE, limit, per_host, list(busy), list(busy.values()), lease)
        return [
            LeasedDelivery(
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

    async def record_attempt(
        self,
        delivery: LeasedDelivery,
        state: DeliveryState,
        due: datetime | None,
        *,
        seconds: float,
        status: int | None,
        error: str | None,
    ) -> None:
        """Record an attempt and the delivery's new state.

        Another gateway may have leased it by now; a delivery that succeeded counts as delivered nevertheless.
        """
        with translate_errors():
            await self._pool.execute(INSERT_ATTEMPT, delivery.id, delivery.attempt, state, due, seconds, status, error)

    async def page(
        self, account: int, prediction: str | None, state: str | None, cursor: Cursor | None, size: int
    ) -> RowPage[Delivery]:
        """Return one page of an account's deliveries, newest first."""
        filters = [(column, value) for column, value in (("prediction", prediction), ("state", state)) if value]
        where = "".join(f" AND d.{column} = ${place}" for place, (column, _) in enumerate(filters, 2))
        return await fetch_page(
            self._pool,
            LIST + where,
            (account, *(value for _, value in filters)),
            by=("created_at", "id"),
            cursor=cursor,
            size=size,
            from_row=as_delivery,
        )

    async def get(self, account: int, id: str) -> Delivery | None:
        """Return a delivery of this account, or None."""
        with translate_errors():
            row = await self._pool.fetchrow(f"{LIST} AND d.id = $2", account, id)
        return as_delivery(row) if row else None

    async def resend(self, account: int, id: str) -> bool:
        """Make a delivery due again, as if for the first time; return False if there is none."""
        with translate_errors():
            row = await self._pool.fetchrow(
                """UPDATE deliveries
                      SET state = 'pending', ended_at = NULL, since = now(),
                          due_at = CASE WHEN state = 'pending' THEN least(due_at, now()) ELSE now() END
                    WHERE account = $1 AND id = $2 RETURNING id""",
                account,
                id,
            )
        return row is not None

    async def delete_ended(self, age: timedelta, limit: int) -> None:
        """Delete deliveries that ended longer ago than `age`."""
        with translate_errors():
            await self._pool.execute(
                """DELETE FROM deliveries WHERE id IN (
                       SELECT id FROM deliveries WHERE ended_at < now() - $1::interval
                        ORDER BY ended_at LIMIT $2 FOR UPDATE SKIP LOCKED)""",
                age,
                limit,
            )


def as_delivery(row: Any) -> Delivery:
    """Build a delivery from its row."""
    return Delivery(
        **{name: row[name] for name in Delivery.__struct_fields__ if name != "attempts"},
        attempts=json.decode(row["attempts"], type=list[DeliveryAttempt]),
    )
