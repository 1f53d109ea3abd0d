"""Changes of predictions: an account's predictions by when their rows last changed."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Final

import asyncpg
from msgspec import json

from gateway.store.connection import translate_errors
from schemas.changes import Change
from schemas.prediction import Status

CHANGE_COLUMNS: Final = """p.id, p.account, p.changed_at, p.model, p.version, p.kind, p.source, p.status, p.created_at,
                    p.deployment, p.started_at, p.completed_at, p.error, p.metrics"""

OnChanges = Callable[[Sequence[Change]], Awaitable[None]]


async def ignore_changes(_: Sequence[Change]) -> None:
    """Do nothing with the changes: the default of `PredictionStore`."""


class ChangeStore:
    """The predictions of an account in the order in which their rows changed."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def now(self) -> datetime:
        """Return the time by the database's clock."""
        with translate_errors():
            return await self._pool.fetchval("SELECT clock_timestamp()")

    async def list_since(self, account: int, moment: datetime, most: int) -> list[Change]:
        """Return predictions that changed after `moment`, in that order, each as it is now."""
        with translate_errors():
            rows = await self._pool.fetch(
                f"""SELECT {CHANGE_COLUMNS} FROM predictions p
                     WHERE kind = 'predict' AND account = $1 AND changed_at > $2 ORDER BY changed_at LIMIT $3""",
                account,
                moment,
                most,
            )
        return [as_change(row) for row in rows]


def as_change(row: asyncpg.Record) -> Change:
    """Build the change of a prediction from its row, which has `CHANGE_COLUMNS`."""
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
