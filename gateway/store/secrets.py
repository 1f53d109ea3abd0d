"""Secrets that webhooks are signed with: one of each account is in use, and old ones sign beside it for a while."""

import base64
import os
from datetime import timedelta
from typing import Final

import asyncpg

from gateway.store.connection import reached

PREFIX: Final = "whsec_"
BYTES: Final = 24

IN_USE: Final = "SELECT key FROM webhook_secrets WHERE account = $1 AND expires_at IS NULL"
DRAW: Final = "INSERT INTO webhook_secrets (account, key) VALUES ($1, $2) ON CONFLICT DO NOTHING"


class WebhookSecrets:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def key(self, account: int) -> str:
        """The one in use, drawn by whoever asks first."""
        with reached():
            found = await self._pool.fetchval(IN_USE, account)
            if found is None:
                await self._pool.execute(DRAW, account, draw())
                found = await self._pool.fetchval(IN_USE, account)
        return found

    async def keys(self, account: int) -> list[str]:
        """All that sign, the one in use first."""
        with reached():
            rows = await self._pool.fetch(
                """SELECT key, expires_at FROM webhook_secrets
                    WHERE account = $1 AND (expires_at IS NULL OR expires_at > now())
                    ORDER BY expires_at DESC NULLS FIRST""",
                account,
            )
        keys = [row["key"] for row in rows]
        return keys if rows and rows[0]["expires_at"] is None else [await self.key(account), *keys]

    async def rotate(self, account: int, overlap: timedelta) -> str:
        """A new one; two who ask for it at the same moment get the same."""
        with reached():
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute(
                    "DELETE FROM webhook_secrets WHERE account = $1 AND expires_at <= now()", account
                )
                await connection.execute(
                    "UPDATE webhook_secrets SET expires_at = now() + $2 WHERE account = $1 AND expires_at IS NULL",
                    account,
                    overlap,
                )
                await connection.execute(DRAW, account, draw())
                return await connection.fetchval(IN_USE, account)


def draw() -> str:
    """Standard base64: clients split a key at its underscore, and there may be but one."""
    return PREFIX + base64.b64encode(os.urandom(BYTES)).decode()
