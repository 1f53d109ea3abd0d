"""The releases of deployments that this host may serve, as gateways publish them."""

import time
from typing import Final

import structlog
from msgspec import DecodeError, ValidationError
from nats.aio.msg import Msg

from schemas import subjects
from schemas.models import Release, Releases, decode_releases

log = structlog.stdlib.get_logger()

TRUST_SECONDS: Final = 30.0  # for which an older list than the last one is ignored


class DeployedReleases:
    """The last list of releases that a gateway published.

    It holds until a newer one comes: a host that receives nothing goes on as before.
    """

    def __init__(self, hardware: str) -> None:
        """`hardware` is the name of this host's hardware."""
        self._hardware = hardware
        self._last: Releases | None = None
        self._received_at = 0.0
        self._by_service: dict[str, Release] = {}

    def by_service(self) -> dict[str, Release]:
        """Return the releases for this host's hardware or for any, by service."""
        return self._by_service

    def update(self, msg: Msg) -> bool:
        """Take over a published list; return whether the releases for this host have changed."""
        try:
            releases = decode_releases(msg.data)
        except (DecodeError, ValidationError, UnicodeDecodeError) as error:
            log.error("cannot decode a list of releases", subject=msg.subject, reason=str(error))
            return False
        if self._is_outdated(releases):
            return False
        self._last, self._received_at = releases, time.monotonic()
        by_service = {
            subjects.service(each.pool, each.version): each
            for each in releases.releases
            if each.hardware in ("", self._hardware)
        }
        has_changed = by_service != self._by_service
        self._by_service = by_service
        return has_changed

    def _is_outdated(self, releases: Releases) -> bool:
        """Return whether a newer list came before: several gateways publish, and messages overtake each other."""
        if self._last is None or releases.at >= self._last.at:
            return False
        return time.monotonic() - self._received_at < TRUST_SECONDS
