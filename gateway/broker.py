"""The gateway's side of the broker: it publishes jobs and final events, and reads the events of predictions."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any, Final

import structlog
from msgspec import convert, json
from nats.errors import Error as NatsError

from bus import jetstream
from bus.client import Client, Message, NoAnswer, NoResponders
from bus.jetstream import JetStream, PublishAck, ReadRefused, read_messages
from gateway.errors import QueueFull
from schemas import events, subjects
from schemas.events import Event
from schemas.events import Final as FinalEvent
from schemas.jobs import Cancel, Job
from schemas.models import RetiredVersions

log = structlog.get_logger("samovar.broker")

TIMEOUT_SECONDS: Final = 2.0  # of one request to the broker
DUPLICATE_FINAL: Final = jetstream.WRONG_LAST_SEQUENCE
"""The code of the error that a second final event is refused with."""


class BrokerError(Exception):
    """The broker refused a request, or did not answer it."""

    def __init__(self, code: int = 0, description: str = "no answer") -> None:
        super().__init__(f"{description} ({code})" if code else description)
        self.code = code


@asynccontextmanager
async def connect(url: str, on_gap: Callable[[], None]) -> AsyncGenerator[Client]:
    """Connect to the broker, again and again for as long as the block goes on.

    `on_gap` is called whenever messages may have been missed.
    """

    async def disconnected() -> None:
        client.fail_requests()
        if not client.is_closed:
            log.warning("broker_lost")

    async def reconnected() -> None:
        log.info("broker_back")
        on_gap()

    async def failed(error: Exception) -> None:
        log.warning("broker_error", error=str(error) or type(error).__name__)
        on_gap()

    client = Client()
    await client.connect(
        url,
        name="samovar-gateway",
        max_reconnect_attempts=-1,
        reconnect_time_wait=0.25,  # pyright: ignore[reportArgumentType]  it is slept
        ping_interval=10,
        max_outstanding_pings=2,
        pending_size=64 * 1024 * 1024,
        disconnected_cb=disconnected,
        reconnected_cb=reconnected,
        error_cb=failed,
    )
    try:
        yield client
    finally:
        # uvloop has a RuntimeError of its own for a transport that is closed already.
        with suppress(NatsError, OSError, TimeoutError, RuntimeError):
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await client.close()


class Broker:
    """The broker as the rest of the gateway uses it; each process has one.

    It owns the knowledge of when the jobs stream was created. A request that the broker refuses or does not answer
    raises `BrokerError`; a stream that is missing is created.
    """

    def __init__(self, client: Client, streams: dict[str, dict[str, Any]]) -> None:
        self._client = client
        self._streams = streams
        self._jetstream = JetStream(self._request, BrokerError)
        self.jobs_created_at: datetime | None = None
        """When the jobs stream was created: sequence numbers from another one mean nothing."""

    async def publish_job(self, job: Job, pool: str) -> int:
        """Publish a job and return its sequence number.

        Raises `QueueFull`, or `BrokerError`: then the reconciler publishes it later.
        """
        subject, waiting = _queue_of(job, pool)
        try:
            ack = await self._publish(subject, json.encode(job), {jetstream.MESSAGE_ID: f"{job.id}:{job.attempt}"})
        except BrokerError as error:
            if error.code == jetstream.SUBJECT_FULL:
                raise QueueFull(f"Too many {waiting}.") from error
            raise
        return ack.seq

    async def publish_event(self, event: Event) -> None:
        """Publish an event.

        Raises `BrokerError`; with the code `DUPLICATE_FINAL` for a final event that came too late.
        """
        headers = jetstream.FIRST_OF_SUBJECT if isinstance(event, FinalEvent) else None
        await self._publish(subjects.event(event.id, events.kind(event)), events.encode(event), headers)

    async def cancel(self, cancel: Cancel) -> None:
        """Tell all runners to stop a prediction."""
        await self.broadcast(subjects.CANCELS, json.encode(cancel))

    async def wake(self, pool: str, version: str) -> None:
        """Ask the runners of a pool to load a version."""
        await self.broadcast(subjects.wake(pool, version))

    async def broadcast(self, subject: str, payload: bytes = b"") -> None:
        """Send a message to whoever listens; it is lost when nobody does."""
        with suppress(NatsError, OSError):
            await self._client.publish(subject, payload)

    async def has_runner(self) -> bool:
        """Return whether some runner answers within a second."""
        with suppress(NatsError, TimeoutError, OSError):
            await self._client.request(subjects.PING, timeout=1)
            return True
        return False

    async def is_reachable(self) -> bool:
        """Return whether the broker answers within a second."""
        with suppress(NatsError, TimeoutError, OSError):
            await self._client.flush(1)
            return True
        return False

    async def read_events(self, id: str) -> list[Event]:
        """Read all events of a prediction that are still stored, in order."""
        try:
            messages = await read_messages(
                self._client, subjects.EVENTS, subjects.events_of(id), within=TIMEOUT_SECONDS
            )
        except NoResponders as error:
            raise StreamMissing from error
        except ReadRefused as error:
            raise BrokerError(error.status, "direct get") from error
        except (NatsError, OSError, TimeoutError) as error:
            raise BrokerError from error
        return [events.decode(message.data) for message in messages]

    async def has_job(self, sequence: int) -> bool:
        """Return whether the job is queued or being run. This is exact: an acknowledged job is gone."""
        message = await self._jetstream.get_message(subjects.JOBS, sequence)
        return message.status != jetstream.NO_MESSAGES

    async def queue_depths(self) -> dict[str, int]:
        """Count the jobs on each subject, including those in hand."""
        try:
            return await self._jetstream.count_messages(subjects.JOBS, "jobs.>")
        except BrokerError as error:
            if error.code == jetstream.STREAM_NOT_FOUND:
                return {}
            raise

    async def discard_job(self, sequence: int) -> None:
        """Delete a job that nobody should start, if the broker answers: this only saves work."""
        with suppress(BrokerError):
            await self._jetstream.delete_message(subjects.JOBS, sequence)

    async def discard_jobs(self, model: str, version: str) -> None:
        """Delete the jobs of a version that was deleted, if the broker answers: this only saves work."""
        with suppress(BrokerError):
            await self._jetstream.purge(subjects.JOBS, subjects.jobs_of("*", model, version))

    async def announce_deletion(self, versions: RetiredVersions) -> None:
        """Tell all runners and gateways that versions were deleted."""
        await self.broadcast(subjects.RETIRED, json.encode(versions))

    async def delete_events(self, id: str) -> None:
        """Delete the events of a prediction, so that it can be run anew."""
        await self._jetstream.purge(subjects.EVENTS, subjects.events_of(id))

    async def ensure_streams(self) -> None:
        """Create the streams that are missing, and note when the jobs stream was created."""
        for name, config in self._streams.items():
            stream, was_missing = await self._jetstream.ensure_stream(name, config)
            if was_missing:
                log.info("stream_created", stream=name)
            if name == subjects.JOBS:
                self.jobs_created_at = convert(stream.created, datetime)

    async def ensure_consumer(self, stream: str, name: str, config: dict[str, Any]) -> None:
        """Create a durable consumer, or update its configuration."""
        await self._jetstream.ensure_consumer(stream, name, config)

    async def _publish(self, subject: str, payload: bytes, headers: dict[str, str] | None) -> PublishAck:
        try:
            reply = await self._request(subject, payload, headers)
        except StreamMissing:
            await self.ensure_streams()
            reply = await self._request(subject, payload, headers)
        ack = jetstream.decode_ack(reply.data)
        if ack.error is not None:
            raise BrokerError(ack.error.err_code, ack.error.description)
        return ack

    async def _request(self, subject: str, payload: bytes = b"", headers: dict[str, str] | None = None) -> Message:
        try:
            return await self._client.ask(subject, payload, headers, within=TIMEOUT_SECONDS)
        except NoResponders as error:
            raise StreamMissing from error
        except (NoAnswer, NatsError, OSError) as error:
            raise BrokerError from error


class StreamMissing(BrokerError):
    """Nobody answers for the stream: it is missing, or the broker is just starting."""


def _queue_of(job: Job, pool: str) -> tuple[str, str]:
    """Return the subject of a job, and how to name those that wait there."""
    match job.kind:
        case "build":
            return subjects.builds(pool), "pushes wait"
        case "train":
            return subjects.trainings(pool), "trainings wait"
        case _:
            return subjects.job(pool, job.model, job.version), f"predictions wait for {job.model}"
