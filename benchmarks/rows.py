"""The record of a stack as its rows are, read from its database."""

import asyncpg

from benchmarks import processes
from benchmarks.stack import Stack

ENDED = "SELECT count(*) FROM predictions WHERE status NOT IN ('starting', 'processing')"


async def ended(stack: Stack) -> int:
    """How many have their final state."""
    return (await fetch(stack, ENDED))[0][0]


async def fetch(stack: Stack, statement: str) -> list[asyncpg.Record]:
    connection: asyncpg.Connection = await asyncpg.connect(database_url(stack))
    try:
        return await connection.fetch(statement)
    finally:
        await connection.close()


def database_url(stack: Stack) -> str:
    """As the gateway was told it."""
    return processes.find(stack, "gateway")[0].environ()["SAMOVAR_DATABASE_URL"]
