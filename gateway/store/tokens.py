"""Tokens in the database, stored as hashes, so nobody can read one there."""

from datetime import datetime
from typing import Final

import asyncpg
from msgspec import Struct, convert

from gateway.store.accounts import Scope, hash_token
from gateway.store.connection import translate_errors
from gateway.store.pages import Cursor, RowPage, fetch_page

HINT_LENGTH: Final = 7  # characters: r8_ and four of 37
COLUMNS = "t.id, t.name, t.hint, t.scopes, t.created_at, t.expires_at, t.creates_per_minute, t.others_per_minute"


class Token(Struct, frozen=True, kw_only=True):
    """A token without its text. Whoever has its id can revoke it, and nothing else."""

    id: str
    account: str
    name: str
    hint: str
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime | None = None
    creates_per_minute: int | None = None
    others_per_minute: int | None = None


class TokenStore:
    """The tokens of all accounts: creation, lists, revocation."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def create(
        self,
        text: str,
        creator: str,
        username: str,
        *,
        name: str,
        scopes: list[Scope],
        expires_at: datetime | None,
        creates_per_minute: int | None,
        others_per_minute: int | None,
    ) -> Token | None:
        """Create a token, on behalf of the token `creator`, whose expiry and scopes limit it.

        Returns None if the creator's token, or the account, is gone.
        """
        with translate_errors():
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
                hash_token(text),
                creator,
                username,
                name,
                text[:HINT_LENGTH],
                scopes,
                expires_at,
                creates_per_minute,
                others_per_minute,
            )
        return convert(dict(row), Token) if row else None

    async def page(self, username: str, cursor: Cursor | None, size: int) -> RowPage[Token]:
        """Return one page of an account's tokens, newest first."""
        return await fetch_page(
            self._pool,
            f"""SELECT * FROM (SELECT {COLUMNS}, a.username AS account
                                 FROM tokens t JOIN accounts a ON a.id = t.account
                                WHERE a.username = $1) t WHERE true""",
            (username,),
            by=("created_at", "id"),
            cursor=cursor,
            size=size,
            from_row=lambda row: convert(dict(row), Token),
        )

    async def exists(self, id: str, account: int | None) -> bool:
        """Return whether there is a token of this id, of this account if one is given."""
        with translate_errors():
            return await self._pool.fetchval(
                "SELECT EXISTS (SELECT FROM tokens WHERE id = $1 AND ($2::int IS NULL OR account = $2))", id, account
            )

    async def revoke(self, id: str, account: int | None, scopes: frozenset[Scope]) -> bool:
        """Delete a token, unless it has a scope outside `scopes`; return False if nothing was deleted.

        Without an account it may be any account's.
        """
        with translate_errors():
            revoked = await self._pool.fetchrow(
                """WITH gone AS (
                       DELETE FROM tokens WHERE id = $1 AND ($2::int IS NULL OR account = $2) AND scopes <@ $3
                       RETURNING id),
                   counted AS (DELETE FROM allowances WHERE holder IN (SELECT 'token:' || id FROM gone))
                   SELECT id FROM gone""",
                id,
                account,
                list(scopes),
            )
        return revoked is not None
