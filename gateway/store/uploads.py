"""Uploaded files in the record; their bytes are in the file store."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import asyncpg
from msgspec import Raw, Struct, convert

from gateway.store.connection import reached
from gateway.store.pages import Cursor, Listed, listed

COLUMNS = "id, account, name, content_type, size, sha256, md5, metadata, created_at, expires_at"


class Upload(Struct, frozen=True, kw_only=True):
    id: str
    account: int
    name: str
    content_type: str
    size: int
    sha256: str
    md5: str
    metadata: Raw
    created_at: datetime
    expires_at: datetime


class Uploads:
    """A file that has expired is not there, though its bytes may be for a while."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def add(self, upload: Upload) -> None:
        with reached():
            await self._pool.execute(
                f"INSERT INTO files ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
                upload.id,
                upload.account,
                upload.name,
                upload.content_type,
                upload.size,
                upload.sha256,
                upload.md5,
                bytes(upload.metadata).decode(),
                upload.created_at,
                upload.expires_at,
            )

    async def get(self, id: str, account: int | None = None) -> Upload | None:
        """Any account's when none is given: for a bearer of its signed URL."""
        with reached():
            row = await self._pool.fetchrow(
                f"""SELECT {COLUMNS} FROM files
                     WHERE id = $1 AND ($2::int IS NULL OR account = $2) AND expires_at > now()""",
                id,
                account,
            )
        return _upload(row) if row else None

    async def page(self, account: int, cursor: Cursor | None, size: int) -> Listed[Upload]:
        """Newest first."""
        return await listed(
            self._pool,
            f"SELECT {COLUMNS} FROM files WHERE account = $1 AND expires_at > now()",
            (account,),
            by=("created_at", "id"),
            cursor=cursor,
            size=size,
            read=_upload,
        )

    async def remove(self, id: str, account: int) -> str | None:
        """The name of what was removed; None: there is no such file."""
        with reached():
            gone = "DELETE FROM files WHERE id = $1 AND account = $2 AND expires_at > now() RETURNING name"
            return await self._pool.fetchval(gone, id, account)

    async def expired(self, since: timedelta, most: int) -> list[tuple[str, str]]:
        """Ids and names of those that expired as long ago as this, whose bytes may still be there."""
        with reached():
            rows = await self._pool.fetch(
                "SELECT id, name FROM files WHERE expires_at <= now() - $1::interval ORDER BY expires_at LIMIT $2",
                since,
                most,
            )
        return [(row["id"], row["name"]) for row in rows]

    async def drop(self, ids: Sequence[str]) -> None:
        """Rows of files that have expired."""
        with reached():
            await self._pool.execute("DELETE FROM files WHERE id = ANY($1) AND expires_at <= now()", list(ids))

    async def live(self, ids: Sequence[str]) -> set[str]:
        """Those of them that have not expired."""
        with reached():
            rows = await self._pool.fetch("SELECT id FROM files WHERE id = ANY($1) AND expires_at > now()", list(ids))
        return {row["id"] for row in rows}

    async def drop_expired(self) -> None:
        with reached():
            await self._pool.execute("DELETE FROM files WHERE expires_at <= now()")


def _upload(row: asyncpg.Record) -> Upload:
    fields: dict[str, Any] = {**row, "metadata": Raw(row["metadata"].encode())}
    return convert(fields, Upload)
