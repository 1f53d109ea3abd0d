"""The part of a prediction that is kept for a limited time: its input, its output and its logs."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Final

import asyncpg
from msgspec import Struct

from gateway.store.connection import translate_errors
from schemas.subjects import MAX_INLINE_BYTES

IS_EXAMPLE: Final = "EXISTS (SELECT FROM examples e WHERE e.prediction = p.id)"

LOCK_EXPIRED: Final = f"""
    SELECT id FROM predictions p
     WHERE kind = 'predict' AND NOT removed AND source = $1 AND completed_at < now() - $2::interval
       AND NOT {IS_EXAMPLE} AND id <> ALL($3::text[])
     ORDER BY completed_at LIMIT $4 FOR UPDATE SKIP LOCKED
"""

# A separate statement, as it sees what became an example until the rows were locked; nothing becomes one after that.
SELECT_CONTENT: Final = f"""
    SELECT id, files,
           CASE WHEN octet_length(input::text) > $2
                THEN encode(sha256(convert_to(input::text, 'UTF8')), 'hex') END AS large,
           coalesce(octet_length(output::text) > $2, false) AS spilled
      FROM predictions p WHERE id = ANY($1) AND NOT {IS_EXAMPLE}
"""

REMOVE_CONTENT: Final = """
    UPDATE predictions SET input = '{}', output = NULL, many = false, files = '{}', logs = '', removed = true
     WHERE id = ANY($1)
"""


class ExpiredContent(Struct, frozen=True, kw_only=True):
    """The files that belong to the content of a prediction that is to be removed."""

    id: str
    files: tuple[str, ...]
    large_input: str | None
    """sha256 of an input that was too large for a message and so is in the file store."""
    has_large_values: bool = False
    """Whether values of the output may be in the file store, too."""


FreeFiles = Callable[[Sequence[ExpiredContent]], Awaitable[list[str]]]
"""Removes the files of these predictions, and returns the ids of those whose files are gone."""


class RetentionStore:
    """The predictions whose content is old enough to be removed."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def remove_expired(
        self, source: str, after: timedelta, limit: int, skip: Sequence[str], free_files: FreeFiles
    ) -> tuple[list[str], int]:
        """Remove the content of some predictions that ended so long ago.

        Returns the ids that were looked at, and of how many the content was removed. Files go first: a gateway
        that dies in between leaves rows that are looked at again. No other gateway looks at them meanwhile.
        """
        with translate_errors():
            async with self._pool.acquire() as on, on.transaction():
                ids = [row["id"] for row in await on.fetch(LOCK_EXPIRED, source, after, list(skip), limit)]
                if not ids:
                    return [], 0
                rows = await on.fetch(SELECT_CONTENT, ids, MAX_INLINE_BYTES)
                gone = await free_files([_content(row) for row in rows])
                await on.execute(REMOVE_CONTENT, gone)
        return ids, len(gone)


def _content(row: asyncpg.Record) -> ExpiredContent:
    return ExpiredContent(
        id=row["id"], files=tuple(row["files"]), large_input=row["large"], has_large_values=row["spilled"]
    )
