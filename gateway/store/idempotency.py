"""Idempotency keys and repeated requests in the database: which prediction the first request made."""

from datetime import datetime, timedelta
from typing import Final

import asyncpg

from gateway.errors import Unprocessable
from gateway.store.connection import translate_errors
from gateway.store.predictions import INSERT, encode_inserts
from schemas.prediction import Prediction

KEY_LIFETIME: Final = timedelta(hours=24)
RETRY_WINDOW: Final = timedelta(minutes=2)
"""For this long, a client that retries by itself may still mean the request before."""

KEY_REUSED: Final = (
    "Idempotency-Key: this key was given with another request in the last 24 hours. "
    "Send another key, or the same request."
)

_FIRST_FREE: Final = 2  # the first parameter that INSERT does not use

RESERVE: Final = f"""
    WITH mine AS (
        INSERT INTO idempotency AS i (account, key, request, prediction)
        VALUES (${_FIRST_FREE}::int, ${_FIRST_FREE + 1}::text, ${_FIRST_FREE + 2}::bytea, ${_FIRST_FREE + 3}::text)
        ON CONFLICT (account, key) DO UPDATE
           SET request = excluded.request, prediction = excluded.prediction, created_at = now()
         WHERE i.created_at < now() - ${_FIRST_FREE + 4}::interval
        RETURNING prediction)
    {INSERT} WHERE EXISTS (SELECT FROM mine)
    RETURNING changed_at
"""

RELEASE: Final = """
    WITH freed AS (DELETE FROM idempotency WHERE account = $1 AND key = $2 AND prediction = $3)
    DELETE FROM predictions WHERE id = $3
"""


class IdempotencyStore:
    """The idempotency keys of the last day, and lookups of predictions by request."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def reserve(self, p: Prediction, pool: str, key: str, request: bytes) -> datetime | str:
        """Commit a prediction together with its key and return when it was created.

        If the key is in use, return the id of the prediction that was made under it: however many gateways get the same
        request at the same time, one of them makes it. Raises `Unprocessable` if the key came with another request.
        """
        with translate_errors():
            while True:
                args = [encode_inserts([(p, pool)]), p.account, key, request, p.id, KEY_LIFETIME]
                if created_at := await self._pool.fetchval(RESERVE, *args):
                    return created_at
                first = await self._pool.fetchrow(
                    "SELECT request, prediction FROM idempotency WHERE account = $1 AND key = $2", p.account, key
                )
                if first is None:
                    continue  # its prediction was not accepted after all
                if first["request"] != request:
                    raise Unprocessable(KEY_REUSED)
                return first["prediction"]

    async def release(self, p: Prediction, key: str) -> None:
        """Delete a prediction that was not accepted after all, and free its key."""
        with translate_errors():
            await self._pool.execute(RELEASE, p.account, key, p.id)

    async def find_recent(self, account: int, request: bytes) -> str | None:
        """Return the id of the newest prediction that this request made within `RETRY_WINDOW`, or None."""
        with translate_errors():
            return await self._pool.fetchval(
                """SELECT id FROM predictions WHERE account = $1 AND request = $2 AND created_at > now() - $3::interval
                    ORDER BY created_at DESC LIMIT 1""",
                account,
                request,
                RETRY_WINDOW,
            )

    async def delete_expired(self, limit: int) -> int:
        """Delete keys older than `KEY_LIFETIME` and return how many there were."""
        with translate_errors():
            rows = await self._pool.fetch(
                """DELETE FROM idempotency WHERE (account, key) IN (
                       SELECT account, key FROM idempotency WHERE created_at < now() - $1::interval
                        ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED)
                   RETURNING true""",
                KEY_LIFETIME,
                limit,
            )
        return len(rows)
