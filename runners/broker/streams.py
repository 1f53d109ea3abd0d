"""The agent's view of JetStream's streams: it creates what is missing and asks what they hold."""

import asyncio
from functools import partial
from typing import Any, Final

from bus import jetstream
from bus.jetstream import JetStream
from runners.broker.connection import Connection
from runners.errors import RequestRefused
from schemas import subjects

CREATE_TIMEOUT: Final = 5.0  # seconds; creating takes longer than reading


class Streams:
    """The streams and consumers that an agent needs, for its job queues, its event publisher and its autoscaler."""

    def __init__(self, connection: Connection, configs: dict[str, dict[str, object]]) -> None:
        self._api = JetStream(partial(connection.ask, within=CREATE_TIMEOUT), RequestRefused)
        self._messages = JetStream(connection.ask, RequestRefused)
        self._configs = configs
        self._creation: asyncio.Task[None] | None = None
        self.jobs_stream_created = ""
        """When the jobs stream was created. A stream created at another time knows nothing of deliveries of the old."""

    async def ensure(self) -> None:
        """Create the streams that are missing; concurrent callers create them once.

        Raises `RunnerError`.
        """
        if self._creation is None or self._creation.done():
            self._creation = asyncio.get_running_loop().create_task(self._ensure_all())
        await asyncio.shield(self._creation)

    async def count_jobs(self, pool: str) -> dict[str, int]:
        """Count the jobs on each subject of a pool. Raises `RunnerError`."""
        return await self._api.count_messages(subjects.JOBS, f"jobs.{pool}.>")

    async def ensure_consumer(self, name: str, filter: str, ack_wait: float) -> None:
        """Create the consumer of the jobs that `filter` matches; unused, it expires after a minute.

        Raises `RunnerError`.
        """
        config: dict[str, Any] = {
            "filter_subject": filter,
            "ack_policy": "explicit",
            "ack_wait": int(ack_wait * jetstream.SECOND),
            "max_deliver": -1,
            "max_ack_pending": 20_000,
            "inactive_threshold": 60 * jetstream.SECOND,
        }
        await self._api.ensure_consumer(subjects.JOBS, name, config)

    async def last_event(self, subject: str) -> bytes | None:
        """Return the last event on the subject, encoded; None if there is none."""
        message = await self._messages.get_last_message(subjects.EVENTS, subject)
        return None if message.status is not None else message.data

    async def has_event(self, sequence: int, subject: str) -> bool:
        """Return whether the events stream still has this event, rather than nothing or another one in its place."""
        message = await self._messages.get_message(subjects.EVENTS, sequence)
        return message.status is None and message.headers.get(jetstream.SUBJECT, "").startswith(subject)

    async def _ensure_all(self) -> None:
        for name, config in self._configs.items():
            stream, _ = await self._api.ensure_stream(name, config)
            if name == subjects.JOBS:
                self.jobs_stream_created = stream.created
