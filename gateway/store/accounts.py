"""Accounts, tokens, and the secrets of the installation."""

import hashlib
import secrets
from typing import Literal

import asyncpg
from msgspec import Struct, convert

from gateway.store.pool import reached

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
    scopes: frozenset[str] = frozenset({"predict", "write", "admin"})


class Accounts:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def by_token(self, hash: bytes) -> Account | None:
        with reached():
            row = await self._pool.fetchrow(
                """SELECT a.id, a.type, a.username, a.name, a.github_url, a.avatar_url, t.id AS token, t.scopes
                     FROM tokens t JOIN accounts a ON a.id = t.account
                    WHERE t.hash = $1 AND (t.expires_at IS NULL OR t.expires_at > now())""",
                hash,
            )
        return convert(dict(row), Account) if row else None

    async def by_token_id(self, id: str) -> Account | None:
        """As long as the token is valid."""
        with reached():
            row = await self._pool.fetchrow(
                """SELECT a.id, a.type, a.username, a.name, a.github_url, a.avatar_url, t.id AS token, t.scopes
                     FROM tokens t JOIN accounts a ON a.id = t.account
                    WHERE t.id = $1 AND (t.expires_at IS NULL OR t.expires_at > now())""",
                id,
            )
        return convert(dict(row), Account) if row else None

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
            "INSERT INTO tokens (hash, account) VALUES ($1, $2) ON CONFLICT (hash) DO NOTHING", digest(token), account
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
