"""The times before which this host does not try a service again, and why it failed."""

import time
from typing import Final

from schemas import subjects

SETUP_RETRY_SECONDS: Final = 10.0  # after the first failed setup; doubled with each further one
MAX_RETRY_SECONDS: Final = 300.0


class Backoff:
    """The failures of services on this host, and the services that are left to other hosts for a while.

    The pool owns it. Every create of a cold version wakes all hosts; those that lost the race for its lease stay away.
    """

    def __init__(self) -> None:
        self._failures: dict[str, int] = {}
        self._setup_errors: dict[str, str] = {}
        self._blocked_until: dict[str, float] = {}

    @property
    def setup_errors(self) -> dict[str, str]:
        """Services whose last setup failed, and why."""
        return self._setup_errors

    def is_blocked(self, service: str) -> bool:
        """Return whether a service is left to other hosts."""
        return time.monotonic() < self._blocked_until.get(service, 0.0)

    def block(self, service: str, seconds: float) -> None:
        """Leave a service to other hosts for a while."""
        now = time.monotonic()
        self._blocked_until = {each: until for each, until in self._blocked_until.items() if until > now}
        self._blocked_until[service] = now + seconds

    def unblock_version(self, version: str) -> None:
        """Try a version's services again at once."""
        blocked = self._blocked_until.items()
        self._blocked_until = {each: until for each, until in blocked if subjects.version_of(each) != version}

    def count_failures(self, service: str) -> int:
        """Return how often a service has failed since it last succeeded."""
        return self._failures.get(service, 0)

    def record_setup_failure(self, service: str, count: int, reason: str) -> None:
        """Note that a service's setup has failed for the `count`th time."""
        self._failures[service] = count
        self._setup_errors[service] = reason

    def record_failure(self, service: str, first_pause: float) -> float:
        """Count another failure and return the seconds until the next try."""
        failures = self._failures[service] = self._failures.get(service, 0) + 1
        return min(MAX_RETRY_SECONDS, first_pause * 2 ** (failures - 1))

    def clear(self, service: str) -> None:
        """Forget a service's failures."""
        self._failures.pop(service, None)
        self._setup_errors.pop(service, None)

    def clear_version(self, version: str) -> None:
        """Forget the failures of a version's services."""
        for service in [each for each in self._failures if subjects.version_of(each) == version]:
            self.clear(service)


def refusal_seconds(failures: int) -> float:
    """Return for how long jobs are refused after a failed setup, by the number of failures before it."""
    return min(MAX_RETRY_SECONDS, SETUP_RETRY_SECONDS * 2**failures)
