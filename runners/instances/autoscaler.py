"""The autoscaler: it has the services loaded that have jobs waiting."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final, Protocol

import structlog
from nats.aio.msg import Msg

from runners.errors import RunnerError
from schemas import subjects
from schemas.models import Release

log = structlog.stdlib.get_logger()

CHECK_SECONDS: Final = 5.0  # so that a wake that was lost does no lasting harm


class QueueDepths(Protocol):
    """The depths of the job queues."""

    async def ensure(self) -> None: ...
    async def count_jobs(self, pool: str) -> dict[str, int]: ...


class InstancePool(Protocol):
    """The pool that loads instances."""

    @property
    def services(self) -> set[str]: ...
    def request(self, service: str) -> None: ...
    def request_more(self, service: str) -> bool: ...


class LeaseTable(Protocol):
    """The leases of all hosts."""

    async def leased_services(self) -> set[str]: ...


class Publisher(Protocol):
    """The connection to the other hosts."""

    async def publish(self, subject: str, payload: bytes = b"") -> None: ...


class Autoscaler:
    """The link between job queues and the pool of instances.

    It requests instances when a gateway sends a wake, when another host asks for more, and by a regular look at all
    queues.
    """

    def __init__(
        self,
        connection: Publisher,
        streams: QueueDepths,
        leases: LeaseTable,
        pool: InstancePool,
        pool_name: str,
        releases: Callable[[], Mapping[str, Release]],
        check: asyncio.Event,
    ) -> None:
        """`releases` are those that may be served here, by service; setting `check` has it look at once."""
        self._connection = connection
        self._streams = streams
        self._leases = leases
        self._pool = pool
        self._pool_name = pool_name
        self._releases = releases
        self._check = check

    async def receive_wake(self, msg: Msg) -> None:
        """Request the service of a message on wake.<pool>.<version>."""
        if (service := self._service(*msg.subject.split(".")[1:])) is not None:
            self._pool.request(service)

    async def receive_more(self, msg: Msg) -> None:
        """Request one more instance for a message on runners.more.<pool>.<version>."""
        if (service := self._service(*msg.subject.split(".")[2:])) is not None:
            self._pool.request_more(service)

    async def ask_other_hosts(self, service: str) -> None:
        """Ask hosts that have room for one more instance, as the queue is long."""
        try:
            pool = subjects.pool_of(service) or self._pool_name
            await self._connection.publish(subjects.more_instances(pool, subjects.version_of(service)))
        except RunnerError as error:
            log.debug("could not ask other hosts for an instance", service=service, reason=str(error))

    def check_now(self) -> None:
        """Look at the queues at once."""
        self._check.set()

    async def run(self) -> None:
        """Look at the queues regularly until canceled."""
        while True:
            try:
                await self.request_waiting()
            except RunnerError as error:
                log.debug("cannot read the depths of the queues", reason=str(error))
                await self.ensure_streams()
            with suppress(TimeoutError):
                async with asyncio.timeout(CHECK_SECONDS):
                    await self._check.wait()
            self._check.clear()

    async def request_waiting(self) -> None:
        """Request the services that have jobs and no instance on other hosts, which would work those off."""
        depths = await self._streams.count_jobs("*" if self._releases() else self._pool_name)
        queues = [queue for subject in depths if (queue := subjects.queue_of(subject)) is not None]
        waiting = {service for each in queues if (service := self._service(each.pool, each.version)) is not None}
        leased = await self._leases.leased_services() if waiting else set[str]()
        for service in waiting - (leased - self._pool.services):
            self._pool.request(service)

    async def ensure_streams(self) -> None:
        """Create the streams if they are missing."""
        try:
            await self._streams.ensure()
        except RunnerError as error:
            log.warning("JetStream does not answer", reason=str(error))

    def _service(self, pool: str, version: str) -> str | None:
        """Return the service; None if it is not for this host."""
        service = subjects.service(pool, version)
        return service if pool == self._pool_name or service in self._releases() else None
