"""Secrets that sign webhooks: each account has one in use, and old ones sign beside it for a while."""

import base64
import os
from datetime import timedelta
from typing import Final

import asyncpg

from gateway.store.connection import translate_errors

PREFIX: Final = "whsec_"
KEY_BYTES: Final = 24

SELECT_CURRENT: Final = "SELECT key FROM webhook_secrets WHERE account = $1 AND expires_at IS NULL"
INSERT_KEY: Final = "INSERT INTO webhook_secrets (account, key) VALUES ($1, $2) ON CONFLICT DO NOTHING"


class WebhookSecretStore:
    """The signing secrets of all accounts."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def current_key(self, account: int) -> str:
        """Return the key in use; whoever asks first draws it."""
        with translate_errors():
            key = await self._pool.fetchval(SELECT_CURRENT, account)
            if key is None:
                await self._pool.execute(INSERT_KEY, account, draw_key())
                key = await self._pool.fetchval(SELECT_CURRENT, account)
        return key

    async def signing_keys(self, account: int) -> list[str]:
        """Return all keys that sign, the one in use first."""
        with translate_errors():
            rows = await self._pool.fetch(
                """SELECT key, expires_at FROM webhook_secrets
                    WHERE account = $1 AND (expires_at IS NULL OR expires_at > now())
                    ORDER BY expires_at DESC NULLS FIRST""",
                account,
            )
        keys = [row["key"] for row in rows]
        return keys if rows and rows[0]["expires_at"] is None else [await self.current_key(account), *keys]

    async def rotate(self, account: int, overlap: timedelta) -> str:
        """Draw a new key and let the old one sign for `overlap` longer.

        Two callers at the same moment get the same new key.
        """
        with translate_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute(
                    "DELETE FROM webhook_secrets WHERE account = $1 AND expires_at <= now()", account
                )
                await connection.execute(
                    "UPDATE webhook_secrets SET expires_at = now() + $2 WHERE account = $1 AND expires_at IS NULL",
                    account,
                    overlap,
                )
                await connection.execute(INSERT_KEY, account, draw_key())
                return await connection.fetchval(SELECT_CURRENT, account)


def draw_key() -> str:
    """Draw a key in standard base64: clients split a key at its underscore, and there may be only one."""
    return PREFIX + base64.b64encode(os.urandom(KEY_BYTES)).decode()
