"""Tokens in the record: by their hash only, so that nobody can read one there."""

from datetime import datetime
from typing import Final

import asyncpg
from msgspec import Struct, convert

from gateway.store.accounts import Right, digest
from gateway.store.connection import reached
from gateway.store.pages import Cursor, Listed, listed

HINT: Final = 7  # characters: r8_ and four of 37
COLUMNS = "t.id, t.name, t.hint, t.scopes, t.created_at, t.expires_at, t.creates_per_minute, t.others_per_minute"


class Token(Struct, frozen=True, kw_only=True):
    """What may be said of it; with its id it can be revoked, and nothing else."""

    id: str
    account: str
    name: str
    hint: str
    scopes: list[Right]
    created_at: datetime
    expires_at: datetime | None = None
    creates_per_minute: int | None = None
    others_per_minute: int | None = None


class Tokens:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def create(
        self,
        text: str,
        by: str,
        username: str,
        *,
        name: str,
        scopes: list[Right],
        expires_at: datetime | None,
        creates_per_minute: int | None,
        others_per_minute: int | None,
    ) -> Token | None:
        """Made with the token of the id `by`, which it cannot outlive. None: that one, or the account, is gone."""
        with reached():
            row = await self._pool.fetchrow(
                f"""WITH t AS (
                        INSERT INTO tokens (hash, account, name, hint, scopes, expires_at,
                                            creates_per_minute, others_per_minute)
                        SELECT $1, a.id, $4, $5, $6, least($7, mine.expires_at), $8, $9
                          FROM accounts a, tokens mine
                         WHERE a.username = $3 AND mine.id = $2 AND $6 <@ mine.scopes
                           AND (mine.expires_at IS NULL OR mine.expires_at > now())
                        RETURNING *)
                    SELECT {COLUMNS}, $3::text AS account FROM t""",
                digest(text),
                by,
                username,
                name,
                text[:HINT],
                scopes,
                expires_at,
                creates_per_minute,
                others_per_minute,
            )
        return convert(dict(row), Token) if row else None

    async def page(self, username: str, cursor: Cursor | None, size: int) -> Listed[Token]:
        """An account's, newest first."""
        return await listed(
            self._pool,
            f"""SELECT * FROM (SELECT {COLUMNS}, a.username AS account
                                 FROM tokens t JOIN accounts a ON a.id = t.account
                                WHERE a.username = $1) t WHERE true""",
            (username,),
            by=("created_at", "id"),
            cursor=cursor,
            size=size,
            read=lambda row: convert(dict(row), Token),
        )

    async def has(self, id: str, account: int | None) -> bool:
        with reached():
            return await self._pool.fetchval(
                "SELECT EXISTS (SELECT FROM tokens WHERE id = $1 AND ($2::int IS NULL OR account = $2))", id, account
            )

    async def revoke(self, id: str, account: int | None, scopes: frozenset[Right]) -> bool:
        """One of any account when none is given; unless it has a scope that is not among these."""
        with reached():
            found = await self._pool.fetchrow(
                """WITH gone AS (
                       DELETE FROM tokens WHERE id = $1 AND ($2::int IS NULL OR account = $2) AND scopes <@ $3
                       RETURNING id),
                   counted AS (DELETE FROM allowances WHERE holder IN (SELECT 'token:' || id FROM gone))
                   SELECT id FROM gone""",
                id,
                account,
                list(scopes),
            )
        return found is not None
