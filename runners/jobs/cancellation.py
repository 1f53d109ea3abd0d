"""Who wants what stopped: a cancel goes to the life that has the job, if it is here."""

from collections.abc import Callable, Generator
from contextlib import contextmanager

import structlog
from msgspec import DecodeError
from nats.aio.msg import Msg

from runners.batching.call import Wish
from schemas.jobs import decode_cancel

log = structlog.stdlib.get_logger()


class Cancels:
    def __init__(self) -> None:
        self._watching: dict[str, Callable[[Wish], None]] = {}

    @contextmanager
    def watch(self, id: str, stop: Callable[[Wish], None]) -> Generator[None]:
        self._watching[id] = stop
        try:
            yield
        finally:
            # The next attempt's life may have begun to watch meanwhile.
            if self._watching.get(id) == stop:
                del self._watching[id]

    async def heard(self, msg: Msg) -> None:
        try:
            cancel = decode_cancel(msg.data)
        except (DecodeError, UnicodeDecodeError) as error:
            log.warning("a cancel that cannot be read", reason=str(error))
            return
        if stop := self._watching.get(cancel.id):
            log.info("canceled", id=cancel.id)
            stop(Wish(cancel.reason))
