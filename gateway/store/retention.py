"""What of a prediction is kept for a while only: its input, its output and what it logged."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Final

import asyncpg
from msgspec import Struct

from gateway.store.connection import reached
from schemas.subjects import INLINE

EXAMPLE: Final = "EXISTS (SELECT FROM examples e WHERE e.prediction = p.id)"

OLD: Final = f"""
    SELECT id FROM predictions p
     WHERE kind = 'predict' AND NOT removed AND source = $1 AND completed_at < now() - $2::interval
       AND NOT {EXAMPLE} AND id <> ALL($3::text[])
     ORDER BY completed_at LIMIT $4 FOR UPDATE SKIP LOCKED
"""

# A statement of its own, as it sees what became an example until the rows were locked; nothing becomes one after that.
CONTENT: Final = f"""
    SELECT id, files,
           CASE WHEN octet_length(input::text) > $2
                THEN encode(sha256(convert_to(input::text, 'UTF8')), 'hex') END AS large,
           coalesce(octet_length(output::text) > $2, false) AS spilled
      FROM predictions p WHERE id = ANY($1) AND NOT {EXAMPLE}
"""

REMOVE: Final = """
    UPDATE predictions SET input = '{}', output = NULL, many = false, files = '{}', logs = '', removed = true
     WHERE id = ANY($1)
"""


class Content(Struct, frozen=True, kw_only=True):
    id: str
    files: tuple[str, ...]
    large: str | None
    """sha256 of an input that was too large for a message, and was written to the file store."""
    spilled: bool = False
    """Whether values of the output may have been, too."""


Free = Callable[[Sequence[Content]], Awaitable[list[str]]]
"""Frees files, and says whose are gone."""


class Retention:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def remove(
        self, source: str, after: timedelta, most: int, leave: Sequence[str], free: Free
    ) -> tuple[list[str], int]:
        """Remove what some predictions said that ended so long ago: which were looked at, and how many are done.

        Files go first: a gateway that dies in between leaves rows that are looked at again. No other gateway looks at
        them meanwhile.
        """
        with reached():
            async with self._pool.acquire() as on, on.transaction():
                ids = [row["id"] for row in await on.fetch(OLD, source, after, list(leave), most)]
                if not ids:
                    return [], 0
                rows = await on.fetch(CONTENT, ids, INLINE)
                gone = await free([_content(row) for row in rows])
                await on.execute(REMOVE, gone)
        return ids, len(gone)


def _content(row: asyncpg.Record) -> Content:
    return Content(id=row["id"], files=tuple(row["files"]), large=row["large"], spilled=row["spilled"])
