"""Predictions of an account by when the record of them last changed."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Final

import asyncpg
from msgspec import json

from gateway.store.connection import reached
from schemas.changes import Change
from schemas.prediction import Status

COLUMNS: Final = """p.id, p.account, p.changed_at, p.model, p.version, p.kind, p.source, p.status, p.created_at,
                    p.deployment, p.started_at, p.completed_at, p.error, p.metrics"""

Tell = Callable[[Sequence[Change]], Awaitable[None]]


async def nobody(_: Sequence[Change]) -> None:
    """Is told."""


class Changed:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def now(self) -> datetime:
        with reached():
            return await self._pool.fetchval("SELECT clock_timestamp()")

    async def since(self, account: int, moment: datetime, most: int) -> list[Change]:
        """In the order in which they changed; each as it is now."""
        with reached():
            rows = await self._pool.fetch(
                f"""SELECT {COLUMNS} FROM predictions p
                     WHERE kind = 'predict' AND account = $1 AND changed_at > $2 ORDER BY changed_at LIMIT $3""",
                account,
                moment,
                most,
            )
        return [as_change(row) for row in rows]


def as_change(row: asyncpg.Record) -> Change:
    return Change(
        id=row["id"],
        account=row["account"],
        at=row["changed_at"],
        model=row["model"],
        version=row["version"],
        source=row["source"],
        status=Status(row["status"]),
        created_at=row["created_at"],
        deployment=row["deployment"],
        started_at=row["started_at"],
        completed_at=row["completed_at"],
        error=row["error"],
        metrics=json.decode(row["metrics"]) if row["metrics"] else {},
    )
