"""Rate limits in the database: how many calls of a minute's allowance all gateways have taken."""

from typing import Literal

import asyncpg
from msgspec import Struct

from gateway.store.connection import translate_errors

CallKind = Literal["create", "other"]

# Minutes are those of the database's clock. A statement that waited for the row may come with the minute before: then
# it takes from the row's own minute. A row from far ahead is from a clock that was set back since, and starts anew.
TAKE_BLOCK = """
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


class GrantedBlock(Struct, frozen=True):
    """A block of calls that one gateway may let through."""

    granted: int
    """Calls in the block; 0: the allowance is used up."""
    remaining: int
    """Calls that no gateway has taken yet."""
    resets_in: float
    """Seconds until the minute is over."""


class RateLimitStore:
    """The calls that accounts and tokens have made in this minute, counted for all gateways."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def take_block(self, holder: str, kind: CallKind, limit: int, block: int) -> GrantedBlock:
        """Take a block of this minute's allowance, or what remains of it, in one statement."""
        with translate_errors():
            row = await self._pool.fetchrow(TAKE_BLOCK, holder, kind, limit, block)
        assert row is not None
        if row["taken"] is None:
            return GrantedBlock(0, 0, row["seconds"])
        over = max(0, row["taken"] - limit)
        return GrantedBlock(block - over, max(0, limit - row["taken"]), row["seconds"])
