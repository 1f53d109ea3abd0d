"""Work that is done again and again, by every gateway, and that one failure does not end."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from gateway.broker import Failed
from gateway.errors import NoFiles, Unavailable

log = structlog.get_logger("samovar.periodic")


async def every(pause: float, work: Callable[[], Awaitable[object]], name: str) -> None:
    """Until it is cancelled, beginning after the first pause of so many seconds.

    What is away just then, such as the database, is found again some time.
    """
    while True:
        await asyncio.sleep(pause)
        await attempt(work, name)


async def attempt(work: Callable[[], Awaitable[object]], name: str) -> None:
    try:
        await work()
    except (Failed, NoFiles, Unavailable) as error:
        log.info("work_waits", work=name, reason=str(error))
    except Exception:
        log.exception("work_failed", work=name)
