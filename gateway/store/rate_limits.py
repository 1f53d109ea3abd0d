"""What was taken of a minute's allowance, counted for all gateways."""

from typing import Literal

import asyncpg
from msgspec import Struct

from gateway.store.connection import reached

Kind = Literal["create", "other"]

# Minutes are those of the database's clock. A statement that waited for the row may bring the minute before: then it
# takes of the row's own. A row from far ahead is from a clock that was set back since, and begins anew.
TAKE = """
WITH this AS (SELECT date_trunc('minute', clock_timestamp()) AS minute),
mine AS (
    INSERT INTO allowances AS a (holder, kind, minute, taken) SELECT $1, $2, minute, $4::int FROM this
    ON CONFLICT (holder, kind) DO UPDATE SET
        minute = CASE WHEN {other} THEN excluded.minute ELSE a.minute END,
        taken = CASE WHEN {other} THEN $4::int ELSE a.taken + $4::int END
    WHERE {other} OR a.taken < $3::int
    RETURNING minute, taken)
SELECT mine.taken, extract(epoch FROM coalesce(mine.minute, this.minute) + interval '1 minute' - clock_timestamp())
       ::float8 AS seconds
  FROM this LEFT JOIN mine ON true
""".format(other="(a.minute < excluded.minute OR a.minute > excluded.minute + interval '5 minutes')")


class Taken(Struct, frozen=True):
    granted: int
    """0: the allowance is used up."""
    free: int
    """What nobody has taken yet."""
    seconds: float
    """Until the minute is over."""


class Allowances:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def take(self, holder: str, kind: Kind, limit: int, block: int) -> Taken:
        """A block of this minute's allowance, or what is left of it, in one statement."""
        with reached():
            row = await self._pool.fetchrow(TAKE, holder, kind, limit, block)
        assert row is not None
        if row["taken"] is None:
            return Taken(0, 0, row["seconds"])
        over = max(0, row["taken"] - limit)
        return Taken(block - over, max(0, limit - row["taken"]), row["seconds"])
