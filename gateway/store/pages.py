"""Keyset pages of lists: each starts after a row, or ends before one, so nothing shifts while rows come and go."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Generic, TypeVar

import asyncpg
import msgspec
from msgspec import Struct, msgpack

from gateway.errors import BadRequest
from gateway.store.connection import translate_errors

T = TypeVar("T")


class Cursor(Struct, frozen=True, array_like=True):
    """The position of a page: the last row of the page before it, or the first row of the page after it.

    `at` is a time, or a number for a list of the best first.
    """

    at: datetime | float
    keys: tuple[str, ...]
    back: bool = False

    def token(self) -> str:
        """Encode the cursor as the text that clients send back."""
        return msgpack.encode(self).hex()

    @classmethod
    def parse(cls, token: str | None) -> "Cursor | None":
        """Decode a client's cursor. Raises `BadRequest` for one that is not ours."""
        if token is None:
            return None
        try:
            cursor = msgpack.decode(bytes.fromhex(token), type=Cursor)
            if any("\0" in key for key in cursor.keys):
                raise BadRequest(BAD_CURSOR)
            return cursor
        except (ValueError, msgspec.DecodeError) as error:
            raise BadRequest(BAD_CURSOR) from error


BAD_CURSOR = "cursor: take it from `next` or `previous` of a page."


class RowPage(Struct, Generic[T], frozen=True):
    """The rows of one page, and the cursors of its neighbors."""

    rows: list[T]
    next: Cursor | None
    previous: Cursor | None


async def fetch_page(
    pool: asyncpg.Pool,
    select: str,
    args: Sequence[object],
    *,
    by: tuple[str, ...],
    cursor: Cursor | None,
    size: int,
    from_row: Callable[[asyncpg.Record], T],
    descending: bool = True,
    position_type: type = datetime,
) -> RowPage[T]:
    """Fetch one page of `select`, which ends in its WHERE clause and takes `args`.

    `by` names columns of the result: first a time (or what `position_type` says), then texts that tell rows of the
    same time apart. Fetches one row more than the page holds. Raises `BadRequest` for a cursor of another list.
    """
    back = cursor is not None and cursor.back
    down = descending != back
    position: tuple[object, ...] = ()
    after = ""
    if cursor is not None:
        if len(cursor.keys) != len(by) - 1 or not isinstance(cursor.at, position_type):
            raise BadRequest(BAD_CURSOR)
        position = (cursor.at, *cursor.keys)
        parameters = ", ".join(f"${len(args) + n}" for n in range(1, len(by) + 1))
        after = f" AND ({', '.join(by)}) {'<' if down else '>'} ({parameters})"
    order = ", ".join(f"{column} {'DESC' if down else 'ASC'}" for column in by)
    sql = f"{select}{after} ORDER BY {order} LIMIT ${len(args) + len(position) + 1}"
    with translate_errors():
        fetched = await pool.fetch(sql, *args, *position, size + 1)
    has_more, rows = len(fetched) > size, fetched[:size]
    if back:
        rows.reverse()
    has_next, has_previous = has_more or back, has_more if back else cursor is not None
    return RowPage(
        rows=[from_row(row) for row in rows],
        next=_cursor_at(rows[-1], by, back=False) if rows and has_next else None,
        previous=_cursor_at(rows[0], by, back=True) if rows and has_previous else None,
    )


def _cursor_at(row: asyncpg.Record, by: tuple[str, ...], *, back: bool) -> Cursor:
    return Cursor(row[by[0]], tuple(row[column] for column in by[1:]), back)
