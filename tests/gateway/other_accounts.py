"""Clients of accounts beside the one that a test's gateway starts with."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import asyncpg
import httpx

from gateway.store.accounts import hash_token


@asynccontextmanager
async def open_client(
    url: str, database_url: str, username: str, scopes: tuple[str, ...] = ("predict", "write")
) -> AsyncGenerator[httpx.AsyncClient]:
    """Yield a client of this account, with a token of these scopes."""
    token = f"{username} {' '.join(scopes)}"
    connection = await asyncpg.connect(database_url)
    try:
        account = await connection.fetchval(
            """INSERT INTO accounts (username, name) VALUES ($1, $1)
               ON CONFLICT (username) DO UPDATE SET name = excluded.name RETURNING id""",
            username,
        )
        await connection.execute(
            "INSERT INTO tokens (hash, account, scopes) VALUES ($1, $2, $3)", hash_token(token), account, list(scopes)
        )
    finally:
        await connection.close()
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=10, trust_env=False) as client:
        yield client
