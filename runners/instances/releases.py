"""The releases of deployments that this host may serve, as gateways tell of them."""

import time
from collections.abc import Callable
from typing import Final

import structlog
from msgspec import DecodeError, ValidationError
from nats.aio.msg import Msg

from schemas import subjects
from schemas.models import Release, Releases, decode_releases

log = structlog.stdlib.get_logger()

TRUSTED: Final = 30.0  # seconds for which nothing older is believed than what was heard last


class Served:
    """What was heard last holds until something newer is: a host that hears nothing goes on as before."""

    def __init__(self, hardware: str, changed: Callable[[], None]) -> None:
        self._hardware = hardware
        self._changed = changed
        self._last: Releases | None = None
        self._heard_at = 0.0
        self._fitting: dict[str, Release] = {}

    def fitting(self) -> dict[str, Release]:
        """By service; those that ask for this host's hardware, or for none."""
        return self._fitting

    async def heard(self, msg: Msg) -> None:
        try:
            said = decode_releases(msg.data)
        except (DecodeError, ValidationError, UnicodeDecodeError) as error:
            log.error("a message that cannot be read", subject=msg.subject, reason=str(error))
            return
        if self._last is not None and said.at < self._last.at and time.monotonic() - self._heard_at < TRUSTED:
            return  # several gateways speak at once, and messages overtake each other
        self._last, self._heard_at = said, time.monotonic()
        fitting = {
            subjects.service(each.pool, each.version): each
            for each in said.releases
            if each.hardware in ("", self._hardware)
        }
        if fitting != self._fitting:
            self._fitting = fitting
            self._changed()
