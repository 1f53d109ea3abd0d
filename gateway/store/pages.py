"""Pages of a list: each begins after a row, or ends before one, so nothing shifts while rows come and go."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Generic, TypeVar

import asyncpg
import msgspec
from msgspec import Struct, msgpack

from gateway.errors import BadRequest
from gateway.store.connection import reached

T = TypeVar("T")


class Cursor(Struct, frozen=True, array_like=True):
    """The last row of a page, by what the list is sorted by; or the first one, and the page before ends there.

    `at` is a moment, or a number for a list of the best first.
    """

    at: datetime | float
    keys: tuple[str, ...]
    back: bool = False

    def token(self) -> str:
        return msgpack.encode(self).hex()

    @classmethod
    def parse(cls, token: str | None) -> "Cursor | None":
        """Raises `BadRequest` for a cursor that is not ours."""
        if token is None:
            return None
        try:
            cursor = msgpack.decode(bytes.fromhex(token), type=Cursor)
            if any("\0" in key for key in cursor.keys):
                raise BadRequest(WRONG)
            return cursor
        except (ValueError, msgspec.DecodeError) as error:
            raise BadRequest(WRONG) from error


WRONG = "cursor: take it from `next` or `previous` of a page."


class Listed(Struct, Generic[T], frozen=True):
    rows: list[T]
    next: Cursor | None
    previous: Cursor | None


async def listed(
    pool: asyncpg.Pool,
    select: str,
    args: Sequence[object],
    *,
    by: tuple[str, ...],
    cursor: Cursor | None,
    size: int,
    read: Callable[[asyncpg.Record], T],
    descending: bool = True,
    first: type = datetime,
) -> Listed[T]:
    """One page of `select`, which ends in its WHERE clause and takes `args`.

    `by` names columns of the result: a moment, or what `first` says, then texts that tell rows of the same moment
    apart. One row more than is shown is asked for. Raises `BadRequest` for a cursor of another list.
    """
    back = cursor is not None and cursor.back
    down = descending != back
    place: tuple[object, ...] = ()
    after = ""
    if cursor is not None:
        if len(cursor.keys) != len(by) - 1 or not isinstance(cursor.at, first):
            raise BadRequest(WRONG)
        place = (cursor.at, *cursor.keys)
        given = ", ".join(f"${len(args) + n}" for n in range(1, len(by) + 1))
        after = f" AND ({', '.join(by)}) {'<' if down else '>'} ({given})"
    order = ", ".join(f"{column} {'DESC' if down else 'ASC'}" for column in by)
    sql = f"{select}{after} ORDER BY {order} LIMIT ${len(args) + len(place) + 1}"
    with reached():
        found = await pool.fetch(sql, *args, *place, size + 1)
    beyond, rows = len(found) > size, found[:size]
    if back:
        rows.reverse()
    older, newer = beyond or back, beyond if back else cursor is not None
    return Listed(
        rows=[read(row) for row in rows],
        next=_place(rows[-1], by, back=False) if rows and older else None,
        previous=_place(rows[0], by, back=True) if rows and newer else None,
    )


def _place(row: asyncpg.Record, by: tuple[str, ...], *, back: bool) -> Cursor:
    return Cursor(row[by[0]], tuple(row[column] for column in by[1:]), back)
