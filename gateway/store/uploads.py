"""Uploaded files in the database; their bytes are in the file store."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import asyncpg
from msgspec import Raw, Struct, convert

from gateway.store.connection import translate_errors
from gateway.store.pages import Cursor, RowPage, fetch_page

COLUMNS = "id, account, name, content_type, size, sha256, md5, metadata, created_at, expires_at"


class Upload(Struct, frozen=True, kw_only=True):
    """An uploaded file, without its bytes."""

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


class UploadStore:
    """The uploaded files of all accounts.

    A file that has expired counts as gone, though its bytes may still be there.
    """

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def add(self, upload: Upload) -> None:
        """Record an uploaded file."""
        with translate_errors():
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
        """Return a file of this account, or None.

        Without an account it is any account's: for a caller that holds its signed URL.
        """
        with translate_errors():
            row = await self._pool.fetchrow(
                f"""SELECT {COLUMNS} FROM files
                     WHERE id = $1 AND ($2::int IS NULL OR account = $2) AND expires_at > now()""",
                id,
                account,
            )
        return _as_upload(row) if row else None

    async def page(self, account: int, cursor: Cursor | None, size: int) -> RowPage[Upload]:
        """Return one page of an account's files, newest first."""
        return await fetch_page(
            self._pool,
            f"SELECT {COLUMNS} FROM files WHERE account = $1 AND expires_at > now()",
            (account,),
            by=("created_at", "id"),
            cursor=cursor,
            size=size,
            from_row=_as_upload,
        )

    async def delete(self, id: str, account: int) -> str | None:
        """Delete a file's row and return its name, or None if there is no such file."""
        with translate_errors():
            statement = "DELETE FROM files WHERE id = $1 AND account = $2 AND expires_at > now() RETURNING name"
            return await self._pool.fetchval(statement, id, account)

    async def list_expired(self, ago: timedelta, limit: int) -> list[tuple[str, str]]:
        """Return ids and names of files that expired at least `ago`, and whose bytes may still be there."""
        with translate_errors():
            rows = await self._pool.fetch(
                "SELECT id, name FROM files WHERE expires_at <= now() - $1::interval ORDER BY expires_at LIMIT $2",
                ago,
                limit,
            )
        return [(row["id"], row["name"]) for row in rows]

    async def delete_expired(self, ids: Sequence[str]) -> None:
        """Delete those of these rows whose files have expired."""
        with translate_errors():
            await self._pool.execute("DELETE FROM files WHERE id = ANY($1) AND expires_at <= now()", list(ids))

    async def find_unexpired(self, ids: Sequence[str]) -> set[str]:
        """Return those of these files that have not expired."""
        with translate_errors():
            rows = await self._pool.fetch("SELECT id FROM files WHERE id = ANY($1) AND expires_at > now()", list(ids))
        return {row["id"] for row in rows}

    async def delete_all_expired(self) -> None:
        """Delete the rows of all files that have expired."""
        with translate_errors():
            await self._pool.execute("DELETE FROM files WHERE expires_at <= now()")


def _as_upload(row: asyncpg.Record) -> Upload:
    fields: dict[str, Any] = {**row, "metadata": Raw(row["metadata"].encode())}
    return convert(fields, Upload)
