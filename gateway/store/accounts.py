"""Accounts, tokens, and the secrets of the installation."""

import hashlib
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Literal

import asyncpg
from msgspec import Struct, convert

from gateway.errors import Unprocessable
from gateway.store.connection import translate_errors
from gateway.store.pages import Cursor, RowPage, fetch_page

COLUMNS = "username, type, name, github_url, avatar_url, creates_per_minute, others_per_minute, created_at"

SELECT_CALLER = """
    SELECT a.id, a.type, a.username, a.name, a.github_url, a.avatar_url, t.id AS token, t.scopes,
           extract(epoch FROM t.expires_at - clock_timestamp())::float8 AS expires_in,
           a.creates_per_minute, a.others_per_minute,
           t.creates_per_minute AS token_creates_per_minute, t.others_per_minute AS token_others_per_minute
      FROM tokens t JOIN accounts a ON a.id = t.account
"""

Scope = Literal["predict", "write", "admin"]
"""predict: run models. write: also create and change them. admin: also for other accounts."""


class Account(Struct, frozen=True):
    """An account that makes a request, and what the token it showed allows."""

    id: int
    type: str
    username: str
    name: str
    github_url: str | None = None
    avatar_url: str | None = None
    token: str = ""
    """Id of the token, which is no secret."""
    scopes: frozenset[Scope] = frozenset({"predict", "write", "admin"})
    expires_in: float | None = None
    """Seconds until the token expires."""
    creates_per_minute: int | None = None
    others_per_minute: int | None = None
    token_creates_per_minute: int | None = None
    token_others_per_minute: int | None = None


class Profile(Struct, frozen=True, kw_only=True):
    """An account as administrators see it."""

    username: str
    type: Literal["user", "organization"]
    name: str
    github_url: str | None
    avatar_url: str | None
    creates_per_minute: int | None
    others_per_minute: int | None
    created_at: datetime


class AccountStore:
    """The accounts, their tokens at sign-in, and the secrets of the installation."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def find_by_token(self, hash: bytes) -> Account | None:
        """Return the account of a valid token by the token's hash, or None."""
        return await self._find_valid("t.hash", hash)

    async def find_by_token_id(self, id: str) -> Account | None:
        """Return the account of a valid token by the token's id, or None."""
        return await self._find_valid("t.id", id)

    async def _find_valid(self, column: str, value: object) -> Account | None:
        """Return the account of a token that has not expired, or None."""
        with translate_errors():
            row = await self._pool.fetchrow(
                f"{SELECT_CALLER} WHERE {column} = $1 AND (t.expires_at IS NULL OR t.expires_at > now())", value
            )
        return convert(dict(row), Account) if row else None

    async def create(self, username: str, fields: Mapping[str, object]) -> Profile | None:
        """Create an account; return None if the name is taken.

        `fields` are named like those of `Profile`, here and in `update`.
        """
        columns = ["username", *fields]
        values = ", ".join(f"${n}" for n in range(1, len(columns) + 1))
        with translate_errors():
            row = await self._pool.fetchrow(
                f"""INSERT INTO accounts ({", ".join(columns)}) VALUES ({values})
                    ON CONFLICT (username) DO NOTHING RETURNING {COLUMNS}""",
                username,
                *fields.values(),
            )
        return convert(dict(row), Profile) if row else None

    async def page(self, cursor: Cursor | None, size: int) -> RowPage[Profile]:
        """Return one page of all accounts, newest first."""
        return await fetch_page(
            self._pool,
            f"SELECT {COLUMNS} FROM accounts WHERE true",
            (),
            by=("created_at", "username"),
            cursor=cursor,
            size=size,
            from_row=lambda row: convert(dict(row), Profile),
        )

    async def get(self, username: str) -> Profile | None:
        """Return the account of this name, or None."""
        with translate_errors():
            row = await self._pool.fetchrow(f"SELECT {COLUMNS} FROM accounts WHERE username = $1", username)
        return convert(dict(row), Profile) if row else None

    async def update(self, username: str, fields: Mapping[str, object]) -> Profile | None:
        """Change fields of an account and return it, or None if there is no such account."""
        if not fields:
            return await self.get(username)
        changes = ", ".join(f"{column} = ${n}" for n, column in enumerate(fields, start=2))
        with translate_errors():
            row = await self._pool.fetchrow(
                f"UPDATE accounts SET {changes} WHERE username = $1 RETURNING {COLUMNS}", username, *fields.values()
            )
        return convert(dict(row), Profile) if row else None

    async def delete(self, username: str) -> bool:
        """Delete an account with its tokens and files; return False if there is no such account.

        Raises `Unprocessable` for an account that has made predictions.
        """
        with translate_errors():
            try:
                account = await self._pool.fetchval("DELETE FROM accounts WHERE username = $1 RETURNING id", username)
            except asyncpg.ForeignKeyViolationError as error:
                raise Unprocessable(
                    f"{username} has made predictions, which are kept. Revoke its tokens instead: "
                    f"`samovar tokens list --account {username}` names them."
                ) from error
        if account is None:
            return False
        with translate_errors():
            await self._pool.execute("DELETE FROM allowances WHERE holder = $1", f"account:{account}")
        return True

    async def exists(self, username: str) -> bool:
        """Return whether there is an account of this name."""
        with translate_errors():
            return await self._pool.fetchval("SELECT EXISTS (SELECT FROM accounts WHERE username = $1)", username)

    async def ensure_token(self, username: str, token: str) -> None:
        """Make sure that this token is valid and belongs to this account."""
        account = await self._pool.fetchval(
            """INSERT INTO accounts (username, name) VALUES ($1, $1)
               ON CONFLICT (username) DO UPDATE SET username = excluded.username RETURNING id""",
            username,
        )
        await self._pool.execute(
            """INSERT INTO tokens (hash, account, name) VALUES ($1, $2, 'SAMOVAR_TOKEN')
               ON CONFLICT (hash) DO NOTHING""",
            hash_token(token),
            account,
        )

    async def installation_secret(self, key: str) -> bytes:
        """Return a secret of the installation: the first caller draws it, and all gateways share it."""
        await self._pool.execute(
            "INSERT INTO installation (key, value) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING",
            key,
            secrets.token_bytes(32),
        )
        return await self._pool.fetchval("SELECT value FROM installation WHERE key = $1", key)


def hash_token(token: str) -> bytes:
    """Return the hash under which a token is stored. Tokens are random, so a plain hash is as good as a slow one."""
    return hashlib.sha256(token.encode()).digest()
