"""Connections to the record, and what its failures mean to us."""

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager

import asyncpg

from gateway.errors import BadToken, Unavailable

LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what asyncpg makes of a connection that breaks while it is being taken
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.DeadlockDetectedError,
    OSError,
    TimeoutError,
)

BY_INDEX = "SET enable_seqscan = off; SET jit = off"
"""A statement is planned once, for a table as large as it is then, and that plan is kept until the table is analyzed,
a minute or more later. For a table of a few rows it would be to read all of them: a new installation under load then
reads its first 100,000 predictions again and again. Compiling is for plans that are expensive, as each table that has
to be read whole now seems to be."""


@asynccontextmanager
async def connected(url: str, connections: int) -> AsyncGenerator[asyncpg.Pool]:
    async with asyncpg.create_pool(
        url,
        min_size=2,
        max_size=connections,
        command_timeout=30,
        timeout=10,
        init=_by_index,
        reset=_keep,
        server_settings={"application_name": "samovar-gateway", "timezone": "UTC"},
    ) as pool:
        yield pool


async def _by_index(connection: asyncpg.Connection) -> None:
    await connection.execute(BY_INDEX)


async def _keep(_: asyncpg.Connection) -> None:
    """Nothing to reset: no statement leaves anything behind in a session, and asking costs a round trip."""


@contextmanager
def reached() -> Generator[None]:
    """Raises `Unavailable` for a database that does not answer, `BadToken` for a row of an account that is gone."""
    try:
        yield
    except Exception as error:
        if (told := meaning(error)) is not error:
            raise told from error
        raise


def meaning(error: Exception) -> Exception:
    """What it is to us; itself, if nothing special."""
    if isinstance(error, LOST):
        return Unavailable()
    if isinstance(error, asyncpg.ForeignKeyViolationError) and (error.constraint_name or "").endswith("_account_fkey"):
        return BadToken()  # deleted a moment ago, by way of a gateway that this one has not heard of yet
    return error
