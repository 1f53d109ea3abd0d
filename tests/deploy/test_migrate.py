import asyncio

import asyncpg

from deploy.migrate import MIGRATIONS, migrate


async def test_tables_are_made_once_however_many_ask(database_url: str) -> None:
    await asyncio.gather(*(migrate(database_url) for _ in range(3)))
    connection = await asyncpg.connect(database_url)
    assert await connection.fetchval("SELECT count(*) FROM migrations") == len(list(MIGRATIONS.glob("*_up_*.sql")))
    await connection.close()
