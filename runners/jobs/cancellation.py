"""Cancellations: a request to cancel a prediction goes to the run that has its job, if it is here."""

from collections.abc import Callable, Generator
from contextlib import contextmanager

import structlog
from msgspec import DecodeError
from nats.aio.msg import Msg

from runners.batching.call import StopRequest
from schemas.jobs import decode_cancel

log = structlog.stdlib.get_logger()


class Cancellations:
    """The runs of an agent that can be canceled, by the id of the prediction."""

    def __init__(self) -> None:
        self._watchers: dict[str, Callable[[StopRequest], None]] = {}

    @contextmanager
    def watch(self, id: str, stop: Callable[[StopRequest], None]) -> Generator[None]:
        """Call `stop` when the prediction is canceled during the `with` block."""
        self._watchers[id] = stop
        try:
            yield
        finally:
            # The run of the next attempt may watch already.
            if self._watchers.get(id) == stop:
                del self._watchers[id]

    async def on_message(self, msg: Msg) -> None:
        """Pass a `schemas.jobs.Cancel` on to its run."""
        try:
            cancel = decode_cancel(msg.data)
        except (DecodeError, UnicodeDecodeError) as error:
            log.warning("cannot read a cancellation", reason=str(error))
            return
        if stop := self._watchers.get(cancel.id):
            log.info("canceled", id=cancel.id)
            stop(StopRequest(cancel.reason))
