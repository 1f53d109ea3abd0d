"""Migrations of the database schema."""

from pathlib import Path
from typing import Final

import asyncpg
from asyncpg_trek import Direction, execute, plan  # pyright: ignore[reportMissingTypeStubs]
from asyncpg_trek.asyncpg import AsyncpgBackend  # pyright: ignore[reportMissingTypeStubs]

MIGRATIONS: Final = Path(__file__).parent / "migrations"
MIGRATION_LOCK_ID: Final = 0x73616D6F766172  # "samovar"


async def migrate(database_url: str) -> None:
    """Bring the tables up to date. However many gateways start at once, one of them migrates at a time."""
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", MIGRATION_LOCK_ID)
        backend = AsyncpgBackend(connection)
        await execute(
            backend, await plan(backend, MIGRATIONS, target_revision=_latest_revision(), direction=Direction.up)
        )
    finally:
        await connection.close()


def _latest_revision() -> str:
    """Return the revision that the last file, called `<yyyymmdd>_<from>_up_<to>.sql`, leads to."""
    return max(MIGRATIONS.glob("*_up_*.sql")).stem.rsplit("_up_", 1)[1]
