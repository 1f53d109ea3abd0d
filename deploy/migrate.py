"""Bring a database's tables up to date."""

from pathlib import Path
from typing import Final

import asyncpg
from asyncpg_trek import Direction, execute, plan  # pyright: ignore[reportMissingTypeStubs]
from asyncpg_trek.asyncpg import AsyncpgBackend  # pyright: ignore[reportMissingTypeStubs]

MIGRATIONS: Final = Path(__file__).parent / "migrations"
LOCK: Final = 0x73616D6F766172  # "samovar": one at a time, however many gateways start at once


async def migrate(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", LOCK)
        backend = AsyncpgBackend(connection)
        await execute(backend, await plan(backend, MIGRATIONS, target_revision=_latest(), direction=Direction.up))
    finally:
        await connection.close()


def _latest() -> str:
    """Files are called `<yyyymmdd>_<from>_up_<to>.sql`; the last of them leads to where we want to be."""
    return max(MIGRATIONS.glob("*_up_*.sql")).stem.rsplit("_up_", 1)[1]
