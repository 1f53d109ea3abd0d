"""Leases on instances: a key for each instance in a bucket of the broker's, which expires unless it is renewed.

A lease is acquired by storing the first message of its key: the broker takes one and refuses the second.
"""

import asyncio
from typing import Any, Final

import structlog

from bus import jetstream
from bus.jetstream import JetStream
from runners.broker.connection import Connection
from runners.errors import BrokerTimeout, NoResponders, RequestRefused, RunnerError
from schemas import subjects

log = structlog.stdlib.get_logger()

LEASE_SECONDS: Final = 10.0
RENEW_SECONDS: Final = 3.0


class Lease:
    """The right to load one instance of a service. `lost` is set once another agent has it."""

    def __init__(self, service: str, number: int, sequence: int) -> None:
        self.service = service
        self.number = number
        self.sequence = sequence
        self.lost = asyncio.Event()

    @property
    def key(self) -> str:
        """The subject of the lease in the bucket."""
        return subjects.lease(self.service, self.number)


class Leases:
    """The leases of one agent, which the pool of instances acquires and releases.

    It owns their renewal, and creates the bucket when it is missing.
    """

    def __init__(
        self,
        connection: Connection,
        agent: str,
        *,
        replicas: int = 1,
        ttl: float = LEASE_SECONDS,
        renew: float = RENEW_SECONDS,
    ) -> None:
        self._jetstream = JetStream(connection.ask, RequestRefused)
        self._agent = agent.encode()
        self._replicas = replicas
        self._ttl = ttl
        self._renew_seconds = renew
        self._leases: set[Lease] = set()

    async def acquire(self, service: str, numbers: range) -> Lease | None:
        """Lease the first of these instances that is free; None if there is none. Raises `RunnerError`."""
        for number in numbers:
            sequence = await self._put(subjects.lease(service, number), 0)
            if sequence is not None:
                lease = Lease(service, number, sequence)
                self._leases.add(lease)
                return lease
        return None

    async def release(self, lease: Lease) -> None:
        """Give the lease up, so that another agent may have it. If the broker does not answer, it expires."""
        self._leases.discard(lease)
        if lease.lost.is_set():
            return
        try:
            await self._jetstream.purge(subjects.LEASE_BUCKET, lease.key)
        except RunnerError as error:
            log.debug("lease left to expire", service=lease.service, reason=str(error))

    async def keep_renewing(self) -> None:
        """Renew all leases every few seconds, until canceled."""
        while True:
            await asyncio.sleep(self._renew_seconds)
            await asyncio.gather(*(self._renew(lease) for lease in list(self._leases)))

    async def leased_services(self) -> set[str]:
        """Return the services of which any agent has an instance. Raises `RunnerError`."""
        try:
            keys = await self._jetstream.count_messages(subjects.LEASE_BUCKET, subjects.ALL_LEASES)
        except RequestRefused as error:
            if error.code == jetstream.STREAM_NOT_FOUND:
                return set()
            raise
        return {key.split(".")[2] for key in keys}

    async def _renew(self, lease: Lease) -> None:
        try:
            sequence = await self._put(lease.key, lease.sequence)
            if sequence is None:
                # It expired while we were away, or the bucket is a new one: it is ours if it is nobody's.
                sequence = await self._put(lease.key, 0)
        except RunnerError as error:
            log.debug("lease not renewed", service=lease.service, reason=str(error))
            return
        if sequence is not None:
            lease.sequence = sequence
        elif lease in self._leases:
            log.warning("another agent has the lease on an instance now", service=lease.service, number=lease.number)
            self._leases.discard(lease)
            lease.lost.set()

    async def _put(self, key: str, last_sequence: int) -> int | None:
        """Store our name under the key; None if another message than that was the last of this key."""
        for _ in range(2):
            try:
                return await self._jetstream.replace_last(key, self._agent, last_sequence)
            except (NoResponders, RequestRefused) as error:
                if isinstance(error, RequestRefused) and error.code != jetstream.STREAM_NOT_FOUND:
                    raise
                await self._ensure_bucket()
        raise BrokerTimeout("cannot create the bucket of leases")

    async def _ensure_bucket(self) -> None:
        config: dict[str, Any] = {
            "name": subjects.LEASE_BUCKET,
            "subjects": [subjects.ALL_LEASES],
            "max_msgs_per_subject": 1,
            "max_age": int(self._ttl * jetstream.SECOND),
            "storage": "memory",
            "discard": "new",
            "allow_direct": True,
            "allow_rollup_hdrs": True,
            "deny_delete": True,
            "num_replicas": self._replicas,
        }
        await self._jetstream.ensure_stream(subjects.LEASE_BUCKET, config)
