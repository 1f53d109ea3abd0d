"""Background work that every gateway repeats, and that one failure does not end."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from gateway.broker import BrokerError
from gateway.errors import FileStoreUnavailable, Unavailable

log = structlog.get_logger("samovar.background")


async def run_every(pause: float, work: Callable[[], Awaitable[object]], name: str) -> None:
    """Repeat the work until cancelled, after pauses of so many seconds; the first pause comes first.

    A failure is logged, and the work tried again after the next pause: a database that is away comes back some time.
    """
    while True:
        await asyncio.sleep(pause)
        await run_guarded(work, name)


async def run_guarded(work: Callable[[], Awaitable[object]], name: str) -> None:
    """Do the work once, and log its failure."""
    try:
        await work()
    except (BrokerError, FileStoreUnavailable, Unavailable) as error:
        log.info("work_waits", work=name, reason=str(error))
    except Exception:
        log.exception("work_failed", work=name)
