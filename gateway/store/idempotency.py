"""Requests that are sent again: which prediction the first of them made."""

from datetime import datetime, timedelta
from typing import Final

import asyncpg

from gateway.errors import Unprocessable
from gateway.store.connection import reached
from gateway.store.predictions import INSERT, inserted
from schemas.prediction import Prediction

KEPT: Final = timedelta(hours=24)
LATELY: Final = timedelta(minutes=2)
"""For as long a client that repeats requests by itself may still mean the one before."""

OTHER: Final = (
    "Idempotency-Key: this key was given with another request in the last 24 hours. "
    "Send another key, or the same request."
)

_FREE: Final = 2  # the first parameter that INSERT leaves

RESERVE: Final = f"""
    WITH mine AS (
        INSERT INTO idempotency AS i (account, key, request, prediction)
        VALUES (${_FREE}::int, ${_FREE + 1}::text, ${_FREE + 2}::bytea, ${_FREE + 3}::text)
        ON CONFLICT (account, key) DO UPDATE
           SET request = excluded.request, prediction = excluded.prediction, created_at = now()
         WHERE i.created_at < now() - ${_FREE + 4}::interval
        RETURNING prediction)
    {INSERT} WHERE EXISTS (SELECT FROM mine)
    RETURNING changed_at
"""

RELEASE: Final = """
    WITH freed AS (DELETE FROM idempotency WHERE account = $1 AND key = $2 AND prediction = $3)
    DELETE FROM predictions WHERE id = $3
"""


class Repeats:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def reserve(self, p: Prediction, pool: str, key: str, request: bytes) -> datetime | str:
        """Key and prediction committed at once, and when; else the id of the one that was made under this key.

        However many gateways are asked at the same time, one of them makes it. Raises `Unprocessable` if the key was
        another request's.
        """
        with reached():
            while True:
                args = [inserted([(p, pool)]), p.account, key, request, p.id, KEPT]
                if made := await self._pool.fetchval(RESERVE, *args):
                    return made
                first = await self._pool.fetchrow(
                    "SELECT request, prediction FROM idempotency WHERE account = $1 AND key = $2", p.account, key
                )
                if first is None:
                    continue  # its prediction was not accepted after all
                if first["request"] != request:
                    raise Unprocessable(OTHER)
                return first["prediction"]

    async def release(self, p: Prediction, key: str) -> None:
        """For a prediction that was not accepted after all."""
        with reached():
            await self._pool.execute(RELEASE, p.account, key, p.id)

    async def lately(self, account: int, request: bytes) -> str | None:
        """The newest prediction that this request made a short while ago."""
        with reached():
            return await self._pool.fetchval(
                """SELECT id FROM predictions WHERE account = $1 AND request = $2 AND created_at > now() - $3::interval
                    ORDER BY created_at DESC LIMIT 1""",
                account,
                request,
                LATELY,
            )

    async def drop_old(self, most: int) -> int:
        """Keys that are kept no longer; how many there were."""
        with reached():
            rows = await self._pool.fetch(
                """DELETE FROM idempotency WHERE (account, key) IN (
                       SELECT account, key FROM idempotency WHERE created_at < now() - $1::interval
                        ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED)
                   RETURNING true""",
                KEPT,
                most,
            )
        return len(rows)
