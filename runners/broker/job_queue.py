"""A queue of jobs in JetStream, from which an agent takes as many as it has credit for."""

import asyncio
import time
from collections.abc import Callable
from typing import Final, Protocol

import structlog
from msgspec import json
from nats.aio.subscription import Subscription

from bus.client import Message
from bus.jetstream import (
    ACK,
    CONFLICT,
    IDLE_HEARTBEAT,
    IN_PROGRESS,
    NAK,
    NO_MESSAGES,
    PENDING_MESSAGES,
    REQUEST_TIMEOUT,
    SECOND,
    TERM,
    PullRequest,
    delivery_count,
    nak,
    pending_count,
    pull_subject,
)
from runners.errors import BrokerTimeout, RunnerError
from schemas import subjects

log = structlog.stdlib.get_logger()

REQUEST_SECONDS: Final = 30  # for which the server keeps a request for jobs, give or take
HEARTBEAT_SECONDS: Final = 5
MIN_REQUEST_SECONDS: Final = 2.2 * HEARTBEAT_SECONDS  # the server refuses a request for less than two heartbeats
SILENCE_SECONDS: Final = 2.2 * HEARTBEAT_SECONDS  # after which a request for jobs counts as lost
REQUEST_DELAY: Final = 0.02  # seconds, in which more of the credit becomes free if jobs are quick


class QueueConnection(Protocol):
    """The part of the connection that a job queue uses."""

    async def publish(
        self, subject: str, payload: bytes = b"", reply: str = "", headers: dict[str, str] | None = None
    ) -> None: ...
    def publish_nowait(self, subject: str, payload: bytes = b"", reply: str = "") -> bool: ...
    async def listen(self, subject: str, on_message: Callable[[Message], None]) -> Subscription: ...
    async def unsubscribe(self, subscription: Subscription) -> None: ...
    def new_inbox(self) -> str: ...


class ConsumerSetup(Protocol):
    """The part of `Streams` that a job queue uses."""

    @property
    def jobs_stream_created(self) -> str: ...
    async def ensure(self) -> None: ...
    async def ensure_consumer(self, name: str, filter: str, ack_wait: float) -> None: ...


class Delivery:
    """A message from the queue, with its acknowledgement.

    It is acknowledged, requeued or terminated; if none of these, JetStream delivers it to another agent.
    """

    __slots__ = ("_queue", "_replies", "data", "is_redelivered", "pending", "pulled_at", "subject")

    def __init__(self, queue: "JobQueue", message: Message, stream_created: str) -> None:
        self._queue = queue
        self._replies = [(stream_created, message.reply)]
        self.subject = message.subject
        self.data = message.data
        self.pulled_at = time.time()
        self.is_redelivered = delivery_count(message) > 1
        self.pending = pending_count(message)
        """The number of jobs behind it in the queue."""

    def merge(self, other: "Delivery") -> None:
        """Take over another delivery of the same job: the acknowledgement of this one is that of both."""
        self._replies += other._replies
        self._queue.forget(other)

    async def acknowledge(self) -> None:
        """Remove the job from the queue: it is done."""
        await self._publish(ACK)
        self._queue.drop(self)

    async def requeue(self, *, delay: float = 0.0) -> None:
        """Give the job back for whoever asks next, or for whoever asks after `delay` seconds."""
        await self._publish(nak(delay) if delay else NAK)
        self._queue.drop(self)

    async def terminate(self) -> None:
        """Remove a job that cannot be understood, so that nobody gets it again."""
        await self._publish(TERM)
        self._queue.drop(self)

    async def keep_alive(self) -> None:
        """Tell JetStream that the job is still in hand, so that no other agent gets it."""
        await self._publish(IN_PROGRESS)

    async def _publish(self, acknowledgement: bytes) -> None:
        for stream_created, reply in self._replies:
            # In a stream that was created anew, the same acknowledgement would be one of another job.
            if stream_created == self._queue.stream_created:
                await self._queue.publish(reply, acknowledgement)


def request_seconds(now: float) -> float:
    """Return for how long to ask now, so that all requests of this agent that bring nothing end at the same moment.

    As they are repeated together, their heartbeats come together, too: many idle queues wake server and agent as often
    as one.
    """
    remaining = REQUEST_SECONDS - now % REQUEST_SECONDS
    return remaining if remaining >= MIN_REQUEST_SECONDS else remaining + REQUEST_SECONDS


class JobQueue:
    """The jobs that one consumer delivers to this agent, for one instance, for builds or for trainings.

    It owns the pull requests and the deliveries in hand. `credit` says how many jobs the agent can have in hand;
    `on_delivery` is called with each delivery.
    """

    def __init__(
        self,
        connection: QueueConnection,
        streams: ConsumerSetup,
        *,
        name: str,
        filter: str,
        ack_wait: float,
        credit: Callable[[], int],
        on_delivery: Callable[[Delivery], None],
    ) -> None:
        self._connection = connection
        self._streams = streams
        self._name = name
        self._filter = filter
        self._ack_wait = ack_wait
        self._credit = credit
        self._on_delivery = on_delivery
        self._inbox = connection.new_inbox()
        self._pull_subject = pull_subject(subjects.JOBS, name)
        self._subscription: Subscription | None = None
        self._deliveries: set[Delivery] = set()
        self._requested = 0
        self._last_message_at = 0.0
        self._needs_consumer = asyncio.Event()
        self._needs_consumer.set()
        self._is_open = False
        self._request_timer: asyncio.TimerHandle | None = None
        self.pending = 0
        """The number of jobs that wait in the queue, as of the last delivery."""

    async def run(self) -> None:
        """Request jobs until canceled, and create the consumer whenever it is missing."""
        self._subscription = await self._connection.listen(self._inbox, self._on_message)
        self._is_open = True
        self._needs_consumer.set()
        while True:
            await self._needs_consumer.wait()
            self._needs_consumer.clear()
            try:
                await self._streams.ensure()
                await self._streams.ensure_consumer(self._name, self._filter, self._ack_wait)
            except RunnerError as error:
                log.warning("cannot create the consumer; trying again", consumer=self._name, reason=str(error))
                await asyncio.sleep(0.25)
                self._needs_consumer.set()
                continue
            self._requested = 0
            self.request_jobs()

    async def close(self) -> None:
        """Take no more jobs; those that are on their way are requeued."""
        self._is_open = False
        self._cancel_timer()
        if self._subscription is not None:
            await self._connection.unsubscribe(self._subscription)

    async def keep_alive(self) -> None:
        """Keep the jobs in hand, and ask a silent broker again. To be called every few seconds."""
        for delivery in list(self._deliveries):
            await delivery.keep_alive()
        if self._requested and time.monotonic() - self._last_message_at > SILENCE_SECONDS:
            self.reset()

    def reset(self) -> None:
        """Forget what was requested: `run` makes sure of the consumer and requests anew."""
        self._needs_consumer.set()

    def request_jobs(self) -> None:
        """Request as many jobs as there is credit for: at once if that is half of the credit, or if there are none.

        So quick jobs are requested seldom, and many at a time. Less than half is requested a moment later if nothing
        else is on its way: beside long jobs, that credit would be idle until enough of them end.
        """
        if not self._is_open or self._needs_consumer.is_set():
            return
        credit = self._credit()
        free = credit - len(self._deliveries) - self._requested
        if free * 2 >= credit or not (self._deliveries or self._requested):
            self._request(free)
        elif free > 0 and not self._requested and self._request_timer is None:
            self._request_timer = asyncio.get_running_loop().call_later(REQUEST_DELAY, self._request_rest)

    def _request_rest(self) -> None:
        self._request_timer = None
        if self._is_open and not self._needs_consumer.is_set():
            self._request(self._credit() - len(self._deliveries) - self._requested)

    def _request(self, free: int) -> None:
        self._cancel_timer()
        if free < 1:
            return
        if not self._requested:
            self._last_message_at = time.monotonic()
        request = PullRequest(
            batch=free,
            expires=int(request_seconds(time.monotonic()) * SECOND),
            idle_heartbeat=HEARTBEAT_SECONDS * SECOND,
        )
        # If the connection is down, nothing is requested: `reset` is called once it is back.
        if self._connection.publish_nowait(self._pull_subject, json.encode(request), self._inbox):
            self._requested += free

    def _cancel_timer(self) -> None:
        if self._request_timer is not None:
            self._request_timer.cancel()
            self._request_timer = None

    def drop(self, delivery: Delivery) -> None:
        """Forget a delivery that is not in hand any more, and request jobs in its place."""
        self.forget(delivery)
        self.request_jobs()

    def forget(self, delivery: Delivery) -> None:
        """Count the delivery as in hand no more."""
        self._deliveries.discard(delivery)

    async def publish(self, subject: str, payload: bytes) -> None:
        """Publish an acknowledgement. Once the connection is closed for good, the job goes to another agent."""
        try:
            await self._connection.publish(subject, payload)
        except BrokerTimeout:
            return

    @property
    def stream_created(self) -> str:
        """The time at which the jobs stream was created."""
        return self._streams.jobs_stream_created

    @property
    def in_hand(self) -> int:
        """The number of deliveries in hand."""
        return len(self._deliveries)

    def _on_message(self, message: Message) -> None:
        self._last_message_at = time.monotonic()
        if (status := message.status) is not None:
            self._on_status(status, message)
            self.request_jobs()
            return
        self._requested = max(0, self._requested - 1)
        if not self._is_open:
            self._connection.publish_nowait(message.reply, NAK)
            return
        delivery = Delivery(self, message, self._streams.jobs_stream_created)
        self._deliveries.add(delivery)
        self.pending = delivery.pending
        self._on_delivery(delivery)
        self.request_jobs()

    def _on_status(self, status: int, message: Message) -> None:
        if status == IDLE_HEARTBEAT:
            return
        unmet = message.headers.get(PENDING_MESSAGES)
        if status in (NO_MESSAGES, REQUEST_TIMEOUT) or (status == CONFLICT and unmet is not None):
            self._requested = max(0, self._requested - int(self._requested if unmet is None else unmet))
        else:
            # CONFLICT: the consumer is gone, or has another leader; 503: there is none.
            log.info("requesting jobs anew", consumer=self._name, status=status, reason=message.reason)
            asyncio.get_running_loop().call_later(0.1, self.reset)
