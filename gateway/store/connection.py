"""Connections to PostgreSQL, and the gateway errors that its failures become."""

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager

import asyncpg

from gateway.errors import BadToken, Unavailable

CONNECTION_ERRORS = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # asyncpg raises it for a connection that breaks while it is being acquired
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.DeadlockDetectedError,
    OSError,
    TimeoutError,
)

SESSION_SETTINGS = "SET enable_seqscan = off; SET jit = off"
"""Settings that keep plans on indexes.

A statement is planned once, for a table as large as it is then, and that plan is kept until the table is analyzed, a
minute or more later. For a table of a few rows the plan would be to read all of them: a new installation under load
then reads its first 100,000 predictions again and again. JIT compilation is off because it is meant for expensive
plans, and without sequential scans every plan that has to read a whole table looks expensive."""


@asynccontextmanager
async def open_pool(url: str, connections: int) -> AsyncGenerator[asyncpg.Pool]:
    """Open a pool of connections, and close it on exit."""
    async with asyncpg.create_pool(
        url,
        min_size=2,
        max_size=connections,
        command_timeout=30,
        timeout=10,
        init=_configure_session,
        reset=_skip_reset,
        server_settings={"application_name": "samovar-gateway", "timezone": "UTC"},
    ) as pool:
        yield pool


async def _configure_session(connection: asyncpg.Connection) -> None:
    await connection.execute(SESSION_SETTINGS)


async def _skip_reset(_: asyncpg.Connection) -> None:
    """Reset nothing: no statement leaves anything behind in a session, and asking costs a round trip."""


@contextmanager
def translate_errors() -> Generator[None]:
    """Turn failures of the database into errors of the gateway.

    Raises `Unavailable` for a database that does not answer, and `BadToken` for a row of an account that is gone.
    """
    try:
        yield
    except Exception as error:
        if (translated := as_gateway_error(error)) is not error:
            raise translated from error
        raise


def as_gateway_error(error: Exception) -> Exception:
    """Return the gateway's error for a failure of the database, or the failure itself if there is none."""
    if isinstance(error, CONNECTION_ERRORS):
        return Unavailable()
    if isinstance(error, asyncpg.ForeignKeyViolationError) and (error.constraint_name or "").endswith("_account_fkey"):
        return BadToken()  # deleted a moment ago through another gateway
    return error
