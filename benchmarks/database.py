"""The database of a running stack, read directly."""

import asyncpg

from benchmarks import processes
from benchmarks.stack import Stack


async def fetch(stack: Stack, statement: str) -> list[asyncpg.Record]:
    """Return the rows of a statement."""
    connection: asyncpg.Connection = await asyncpg.connect(database_url(stack))
    try:
        return await connection.fetch(statement)
    finally:
        await connection.close()


def database_url(stack: Stack) -> str:
    """Return the URL of the database, from the gateway's environment."""
    return processes.find(stack, "gateway")[0].environ()["SAMOVAR_DATABASE_URL"]
