"""Accounts, tokens, and the secrets of the installation."""

import hashlib
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Literal

import asyncpg
from msgspec import Struct, convert

from gateway.errors import Unprocessable
from gateway.store.connection import reached
from gateway.store.pages import Cursor, Listed, listed

COLUMNS = "username, type, name, github_url, avatar_url, creates_per_minute, others_per_minute, created_at"

CALLER = """
    SELECT a.id, a.type, a.username, a.name, a.github_url, a.avatar_url, t.id AS token, t.scopes,
           extract(epoch FROM t.expires_at - clock_timestamp())::float8 AS lasts,
           a.creates_per_minute, a.others_per_minute,
           t.creates_per_minute AS token_creates_per_minute, t.others_per_minute AS token_others_per_minute
      FROM tokens t JOIN accounts a ON a.id = t.account
"""

Right = Literal["predict", "write", "admin"]
"""predict: run what there is. write: also change what there is. admin: also for others."""


class Account(Struct, frozen=True):
    """Who calls, and what the token that they show allows."""

    id: int
    type: str
    username: str
    name: str
    github_url: str | None = None
    avatar_url: str | None = None
    token: str = ""
    """The id of the token, which is no secret."""
    scopes: frozenset[Right] = frozenset({"predict", "write", "admin"})
    lasts: float | None = None
    """Seconds until the token expires."""
    creates_per_minute: int | None = None
    others_per_minute: int | None = None
    token_creates_per_minute: int | None = None
    token_others_per_minute: int | None = None


class Profile(Struct, frozen=True, kw_only=True):
    """An account, as those see it who look after accounts."""

    username: str
    type: Literal["user", "organization"]
    name: str
    github_url: str | None
    avatar_url: str | None
    creates_per_minute: int | None
    others_per_minute: int | None
    created_at: datetime


class Accounts:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def by_token(self, hash: bytes) -> Account | None:
        return await self._caller("t.hash", hash)

    async def by_token_id(self, id: str) -> Account | None:
        return await self._caller("t.id", id)

    async def _caller(self, column: str, value: object) -> Account | None:
        """As long as the token is valid."""
        with reached():
            row = await self._pool.fetchrow(
                f"{CALLER} WHERE {column} = $1 AND (t.expires_at IS NULL OR t.expires_at > now())", value
            )
        return convert(dict(row), Account) if row else None

    async def create(self, username: str, fields: Mapping[str, object]) -> Profile | None:
        """None: there is one of this name. Fields are named like those of `Profile`, here and below."""
        columns = ["username", *fields]
        values = ", ".join(f"${n}" for n in range(1, len(columns) + 1))
        with reached():
            row = await self._pool.fetchrow(
                f"""INSERT INTO accounts ({", ".join(columns)}) VALUES ({values})
                    ON CONFLICT (username) DO NOTHING RETURNING {COLUMNS}""",
                username,
                *fields.values(),
            )
        return convert(dict(row), Profile) if row else None

    async def page(self, cursor: Cursor | None, size: int) -> Listed[Profile]:
        return await listed(
            self._pool,
            f"SELECT {COLUMNS} FROM accounts WHERE true",
            (),
            by=("created_at", "username"),
            cursor=cursor,
            size=size,
            read=lambda row: convert(dict(row), Profile),
        )

    async def get(self, username: str) -> Profile | None:
        with reached():
            row = await self._pool.fetchrow(f"SELECT {COLUMNS} FROM accounts WHERE username = $1", username)
        return convert(dict(row), Profile) if row else None

    async def update(self, username: str, fields: Mapping[str, object]) -> Profile | None:
        """None: there is no such account."""
        if not fields:
            return await self.get(username)
        changes = ", ".join(f"{column} = ${n}" for n, column in enumerate(fields, start=2))
        with reached():
            row = await self._pool.fetchrow(
                f"UPDATE accounts SET {changes} WHERE username = $1 RETURNING {COLUMNS}", username, *fields.values()
            )
        return convert(dict(row), Profile) if row else None

    async def delete(self, username: str) -> bool:
        """With its tokens and files. False: there is no such account.

        Raises `Unprocessable` for one that has made predictions.
        """
        with reached():
            try:
                gone = await self._pool.fetchval("DELETE FROM accounts WHERE username = $1 RETURNING id", username)
            except asyncpg.ForeignKeyViolationError as error:
                raise Unprocessable(
                    f"{username} has made predictions, which are kept. Revoke its tokens instead: "
                    f"`samovar tokens list --account {username}` names them."
                ) from error
        if gone is None:
            return False
        with reached():
            await self._pool.execute("DELETE FROM allowances WHERE holder = $1", f"account:{gone}")
        return True

    async def named(self, username: str) -> bool:
        """Whether an account of this name is there."""
        with reached():
            return await self._pool.fetchval("SELECT EXISTS (SELECT FROM accounts WHERE username = $1)", username)

    async def admit(self, username: str, token: str) -> None:
        """Make sure that this token is valid, and belongs to this account."""
        account = await self._pool.fetchval(
            """INSERT INTO accounts (username, name) VALUES ($1, $1)
               ON CONFLICT (username) DO UPDATE SET username = excluded.username RETURNING id""",
            username,
        )
        await self._pool.execute(
            """INSERT INTO tokens (hash, account, name) VALUES ($1, $2, 'SAMOVAR_TOKEN')
               ON CONFLICT (hash) DO NOTHING""",
            digest(token),
            account,
        )

    async def secret(self, key: str) -> bytes:
        """Of the installation: drawn by whoever asks first, the same for all gateways."""
        await self._pool.execute(
            "INSERT INTO installation (key, value) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING",
            key,
            secrets.token_bytes(32),
        )
        return await self._pool.fetchval("SELECT value FROM installation WHERE key = $1", key)


def digest(token: str) -> bytes:
    """How a token is kept. Tokens are random, so a plain hash is as good as a slow one."""
    return hashlib.sha256(token.encode()).digest()
